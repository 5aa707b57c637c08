// Clients of revision 2026-07-28 at the address of all servers.
#include "hub_aggregate_support.hpp"
#include "hub_modern_support.hpp"

namespace hal::hub::test {
namespace {

class AggregateModern : public Aggregate {
 public:
  std::unique_ptr<RelayPeer> client(const std::string& worker = "a") {
    auto peer = connect(worker);
    EXPECT_NE(peer->open("*"), "");
    return peer;
  }

  /** Both servers have told their one tool. */
  void list_tools(RelayPeer& peer, const Json& can = Json::object()) {
    peer.send(modern("list", "tools/list", {}, can));
    start_all({"files", "notes"});
    for (const auto* server : {"files", "notes"}) {
      const auto asked = of(server).next_of("tools/list");
      of(server).answer(asked, {{"tools", {{{"name", "read"}, {"inputSchema", {{"type", "object"}}}}}}});
    }
    const auto result = peer.next()["result"];
    EXPECT_EQ(names(result["tools"]), Json({"files__read", "notes__read"}));
    EXPECT_EQ(result["resultType"], "complete");
  }
};

TEST_F(AggregateModern, discover_is_answered_without_asking_any_server) {
  auto peer = client();
  peer->send(modern(1, "server/discover"));
  const auto result = peer->next()["result"];
  EXPECT_EQ(result["supportedVersions"], Json({"2026-07-28"}));
  EXPECT_EQ(result["_meta"][server_key]["name"], "hal9000");
  EXPECT_TRUE(result["capabilities"].contains("tools"));
  EXPECT_TRUE(told<link::InstanceRequest>().empty());
}

TEST_F(AggregateModern, calls_go_to_the_server_they_name_beside_those_of_older_clients) {
  auto peer = client();
  list_tools(*peer);
  auto older = all();
  peer->send(modern(1, "tools/call", {{"name", "notes__read"}, {"arguments", {{"of", "modern"}}}}));
  older->send(request(1, "tools/call", {{"name", "notes__read"}, {"arguments", {{"of", "older"}}}}));
  for (int call = 0; call < 2; ++call) {
    const auto asked = of("notes").next_of("tools/call");
    EXPECT_EQ(asked["params"]["name"], "read");
    of("notes").answer(asked, {{"content", Json::array()}, {"for", asked["params"]["arguments"]["of"]}});
  }
  EXPECT_EQ(peer->next()["result"]["for"], "modern");
  const auto answer = older->next()["result"];
  EXPECT_EQ(answer["for"], "older");
  EXPECT_FALSE(answer.contains("resultType"));
}

TEST_F(AggregateModern, a_question_of_a_server_becomes_input_that_is_required) {
  const Json can = {{"elicitation", Json::object()}};
  auto peer = client();
  list_tools(*peer, can);
  peer->send(modern(1, "tools/call", {{"name", "files__read"}}, can));
  const auto call = of("files").next_of("tools/call");
  of("files").send(request(77, "elicitation/create",
                           {{"message", "which?"}, {"requestedSchema", {{"type", "object"}, {"properties", {}}}}}));
  const auto asked = peer->next()["result"];
  ASSERT_EQ(asked["resultType"], "input_required") << asked;
  ASSERT_EQ(asked["inputRequests"].size(), 1U);
  const auto key = asked["inputRequests"].begin().key();
  Json params = {{"name", "files__read"},
                 {"requestState", asked["requestState"]},
                 {"inputResponses", {{key, {{"action", "decline"}}}}}};
  peer->send(modern(2, "tools/call", params, can));
  const auto answered = of("files").next();
  EXPECT_EQ(answered["id"], 77);
  EXPECT_EQ(answered["result"]["action"], "decline");
  of("files").answer(call, {{"content", Json::array()}});
  const auto done = peer->next();
  EXPECT_EQ(done["id"], 2);
  EXPECT_EQ(done["result"]["resultType"], "complete");
}

TEST_F(AggregateModern, the_end_of_a_client_leaves_nothing) {
  auto peer = client();
  list_tools(*peer);
  peer->send(modern(1, "tools/call", {{"name", "files__read"}}));
  const auto call = of("files").next_of("tools/call");
  peer.reset();
  EXPECT_EQ(of("files").next_of("notifications/cancelled")["params"]["requestId"], call["id"]);
  EXPECT_TRUE(hal::test::run_until(loop, [this] { return hub->sessions() == 0; }));
}

}  // namespace
}  // namespace hal::hub::test
