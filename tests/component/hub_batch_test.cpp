#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

class Batches : public Shared {
 public:
  std::unique_ptr<RelayPeer> client_of(const std::string& revision) {
    auto client = connect("a");
    client->open("s");
    client->send(request("hello", "initialize", {{"protocolVersion", revision}, {"capabilities", Json::object()}}));
    process = &start_process("s");
    process->revision = revision;
    EXPECT_EQ(client->next()["result"]["protocolVersion"], revision);
    client->notify("notifications/initialized");
    return client;
  }
  static Json pong(const Json& id) { return {{"jsonrpc", "2.0"}, {"id", id}, {"result", Json::object()}}; }
};

TEST_F(Batches, are_answered_with_one_array_and_reach_the_server_one_by_one) {
  auto a = client_of("2025-03-26");
  a->send(Json::array({request(1, "tools/call"), notification("notifications/x"), request("2", "tools/list"),
                       request(3, "ping"), Json{{"jsonrpc", "2.0"}, {"id", 4}}, Json(7)}));
  const auto call = process->next();
  EXPECT_EQ(call["method"], "tools/call");
  EXPECT_EQ(process->next()["method"], "notifications/x");
  const auto list = process->next();
  EXPECT_EQ(list["method"], "tools/list");
  process->answer(list, {{"tools", Json::array()}});
  a->send(request(9, "ping"));
  EXPECT_EQ(a->next(), pong(9));  // others do not wait for the batch
  process->answer(call, {{"content", Json::array()}});
  const auto answers = a->next();
  ASSERT_TRUE(answers.is_array()) << answers;
  ASSERT_EQ(answers.size(), 5U);
  EXPECT_EQ(answers[0], pong(3));
  EXPECT_EQ(answers[1]["id"], 4);
  EXPECT_EQ(answers[1]["error"]["code"], -32600);
  EXPECT_EQ(answers[2]["id"], nullptr);
  EXPECT_EQ(answers[3]["id"], "2");
  EXPECT_EQ(answers[4]["id"], 1);
}

TEST_F(Batches, of_notifications_have_no_answer_and_what_is_cancelled_is_not_waited_for) {
  auto a = client_of("2025-03-26");
  a->send(Json::array({notification("notifications/x"), notification("notifications/y")}));
  EXPECT_EQ(process->next()["method"], "notifications/x");
  EXPECT_EQ(process->next()["method"], "notifications/y");
  a->send(Json::array({request(1, "tools/call"), request(2, "ping")}));
  EXPECT_EQ(process->next()["method"], "tools/call");
  a->notify("notifications/cancelled", {{"requestId", 1}});
  EXPECT_EQ(a->next(), Json::array({pong(2)}));
  a->send(Json::array({request(1, "ping")}));
  EXPECT_EQ(a->next(), Json::array({pong(1)}));
}

TEST_F(Batches, that_are_none_are_refused_as_json_rpc_says) {
  auto a = client_of("2025-03-26");
  a->send_raw("[]");
  const auto refused = a->next();
  EXPECT_EQ(refused["id"], nullptr);
  EXPECT_EQ(refused["error"]["code"], -32600);
  Json many = Json::array();
  for (int i = 0; i < 257; ++i) {
    many.push_back(request(i, "ping"));
  }
  a->send(many);
  EXPECT_EQ(a->next()["error"]["code"], -32600);
  a->send_raw(R"([{"jsonrpc":"2.0","id":1,"method":"ping"})");
  EXPECT_EQ(a->next()["error"]["code"], -32700);
}

TEST_F(Batches, exist_in_one_revision_only) {
  for (const auto* revision : {"2024-11-05", "2025-06-18", "2025-11-25"}) {
    auto a = client_of(revision);
    a->send(Json::array({request(1, "ping")}));
    const auto refused = a->next();
    EXPECT_EQ(refused["id"], nullptr);
    EXPECT_EQ(refused["error"]["code"], -32600) << revision;
    EXPECT_EQ(a->ask(2, "ping"), pong(2));
    a.reset();
    hub->remove_server("s");
    add_server("s");
  }
}

TEST_F(Batches, of_the_server_reach_the_clients_one_by_one) {
  auto a = client_of("2025-11-25");
  a->send(request(1, "tools/call"));
  a->send(request(2, "tools/call"));
  const auto first = process->next();
  const auto second = process->next();
  process->send(Json::array({{{"jsonrpc", "2.0"}, {"id", second["id"]}, {"result", {{"n", 2}}}},
                             notification("notifications/tools/list_changed"),
                             {{"jsonrpc", "2.0"}, {"id", first["id"]}, {"result", {{"n", 1}}}}}));
  EXPECT_EQ(a->next()["result"]["n"], 2);
  EXPECT_EQ(a->next()["method"], "notifications/tools/list_changed");
  EXPECT_EQ(a->next()["result"]["n"], 1);
}

TEST_F(Batches, work_with_a_process_for_each_client_too) {
  hub->remove_server("s");
  add_server("s", link::ServerMode::session);
  auto a = client_of("2025-03-26");
  a->send(Json::array({request(1, "tools/call"), request(2, "tools/call")}));
  const auto first = process->next();
  const auto second = process->next();
  EXPECT_EQ(first["id"], 1);
  process->answer(second, {{"n", 2}});
  process->answer(first, {{"n", 1}});
  const auto answers = a->next();
  ASSERT_TRUE(answers.is_array()) << answers;
  EXPECT_EQ(answers[0]["result"]["n"], 2);
  EXPECT_EQ(answers[1]["result"]["n"], 1);
}

}  // namespace
}  // namespace hal::hub::test
