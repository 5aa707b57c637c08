// Clients of older revisions at a server that speaks 2026-07-28 only.
#include "hub_modern_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

class ModernOnlyServer : public EitherMode {
 public:
  /** An initialized client with these capabilities, and the server's modern process. */
  std::pair<std::unique_ptr<RelayPeer>, FakeProcess*> begin(const Json& capabilities = Json::object()) {
    auto a = connect("a");
    a->initialize("s", capabilities);
    auto& refusing = start_process("s");
    refusing.shakes_hands = false;
    refusing.send({{"jsonrpc", "2.0"},
                   {"id", refusing.next()["id"]},
                   {"error", {{"code", -32022}, {"message", "no"}, {"data", {{"supported", {"2026-07-28"}}}}}}});
    auto& process = start_process("s");
    EXPECT_TRUE(process.session && process.session->starts_with("2026-07-28"));
    process.answer(process.next(), discovered(server_capabilities));
    const auto discover = process.next();
    EXPECT_EQ(discover["method"], "server/discover");
    process.answer(discover, discovered(server_capabilities));
    const auto hello = a->next();
    EXPECT_EQ(hello["id"], 0);
    EXPECT_EQ(hello["result"]["protocolVersion"], "2025-11-25");
    EXPECT_EQ(hello["result"]["serverInfo"]["version"], "8");
    EXPECT_EQ(hello["result"]["capabilities"], server_capabilities);
    a->notify("notifications/initialized");
    return {std::move(a), &process};
  }

  Json server_capabilities = {{"tools", Json::object()}, {"resources", {{"subscribe", true}}}};
};

INSTANTIATE_TEST_SUITE_P(Modes, ModernOnlyServer, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

TEST_P(ModernOnlyServer, requests_say_what_the_client_has_said_once) {
  auto [a, process] = begin({{"roots", Json::object()}});
  EXPECT_EQ(a->ask(1, "ping")["result"], Json::object());
  EXPECT_EQ(a->ask(2, "logging/setLevel", {{"level", "info"}})["result"], Json::object());
  a->send(request("x", "tools/call", {{"name", "t"}, {"_meta", {{"progressToken", "p"}, {"own", 1}}}}));
  const auto call = process->next();
  const auto& meta = call["params"]["_meta"];
  EXPECT_EQ(meta[version_key], "2026-07-28");
  EXPECT_EQ(meta[capabilities_key], Json({{"roots", Json::object()}}));
  EXPECT_EQ(meta[level_key], "info");
  EXPECT_EQ(meta["own"], 1);
  process->send(notification("notifications/progress", {{"progressToken", meta["progressToken"]}, {"progress", 1}}));
  process->send(notification("notifications/message", {{"level", "info"}, {"data", "d"}}));
  process->answer(call, {{"resultType", "complete"}, {"content", Json::array()}});
  EXPECT_EQ(a->next()["params"]["progressToken"], "p");
  EXPECT_EQ(a->next()["params"]["data"], "d");
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], "x");
  EXPECT_EQ(answer["result"], Json({{"content", Json::array()}}));
  EXPECT_EQ(a->ask(3, "tasks/list")["error"]["code"], -32601);
}

TEST_P(ModernOnlyServer, input_that_is_required_is_asked_of_the_client_and_the_call_repeated) {
  auto [a, process] = begin({{"elicitation", Json::object()}, {"roots", Json::object()}});
  a->send(request(1, "tools/call", {{"name", "t"}, {"arguments", {{"x", 1}}}}));
  process->answer(process->next(), {{"resultType", "input_required"},
                                    {"requestState", "opaque"},
                                    {"inputRequests",
                                     {{"name", {{"method", "elicitation/create"}, {"params", {{"message", "Name?"}}}}},
                                      {"roots", {{"method", "roots/list"}}}}}});
  std::map<std::string, Json> questions;
  for (int i = 0; i < 2; ++i) {
    auto question = a->next();
    questions[question["method"]] = question;
  }
  EXPECT_EQ(questions["elicitation/create"]["params"]["message"], "Name?");
  a->send({{"jsonrpc", "2.0"}, {"id", questions["roots/list"]["id"]}, {"result", {{"roots", Json::array()}}}});
  a->send({{"jsonrpc", "2.0"}, {"id", questions["elicitation/create"]["id"]}, {"result", {{"action", "accept"}}}});
  const auto repeated = process->next();
  EXPECT_EQ(repeated["params"]["arguments"], Json({{"x", 1}}));
  EXPECT_EQ(repeated["params"]["requestState"], "opaque");
  EXPECT_EQ(repeated["params"]["inputResponses"],
            Json({{"name", {{"action", "accept"}}}, {"roots", {{"roots", Json::array()}}}}));
  process->answer(repeated, {{"resultType", "complete"}, {"content", "done"}});
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], 1);
  EXPECT_EQ(answer["result"]["content"], "done");
}

TEST_P(ModernOnlyServer, input_that_the_client_cannot_give_ends_the_call) {
  auto [a, process] = begin();
  a->send(request(1, "tools/call", {{"name", "t"}}));
  process->answer(process->next(),
                  {{"resultType", "input_required"}, {"inputRequests", {{"roots", {{"method", "roots/list"}}}}}});
  EXPECT_EQ(a->next()["error"]["code"], -32603);
}

TEST_P(ModernOnlyServer, a_client_that_refuses_and_one_that_cancels) {
  auto [a, process] = begin({{"roots", Json::object()}});
  const Json required = {{"resultType", "input_required"}, {"inputRequests", {{"roots", {{"method", "roots/list"}}}}}};
  a->send(request(1, "tools/call", {{"name", "t"}}));
  process->answer(process->next(), required);
  a->send({{"jsonrpc", "2.0"}, {"id", a->next()["id"]}, {"error", {{"code", 1}, {"message", "never"}}}});
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], 1);
  EXPECT_NE(answer["error"]["message"].get<std::string>().find("never"), std::string::npos);

  a->send(request(2, "tools/call", {{"name", "t"}}));
  const auto call = process->next();
  a->notify("notifications/cancelled", {{"requestId", 2}});
  EXPECT_EQ(process->next()["params"]["requestId"], call["id"]);
}

TEST_P(ModernOnlyServer, a_server_that_never_has_enough_is_stopped) {
  auto [a, process] = begin();
  a->send(request(1, "tools/call", {{"name", "t"}}));
  for (int i = 0; i < 33; ++i) {
    process->answer(process->next(), {{"resultType", "input_required"}, {"requestState", "more"}});
  }
  EXPECT_EQ(a->next()["error"]["code"], -32603);
}

TEST_P(ModernOnlyServer, subscriptions_are_streams_at_the_server) {
  server_capabilities["tools"]["listChanged"] = true;
  auto [a, process] = begin();
  const auto lists = process->next();
  EXPECT_EQ(lists["method"], "subscriptions/listen");
  EXPECT_EQ(lists["params"]["notifications"]["toolsListChanged"], true);
  process->send(on_stream(lists["id"], "notifications/subscriptions/acknowledged"));
  process->send(on_stream(lists["id"], "notifications/tools/list_changed"));
  EXPECT_EQ(a->next()["method"], "notifications/tools/list_changed");

  a->send(request(1, "resources/subscribe", {{"uri", "file:///x"}}));
  const auto listen = process->next();
  EXPECT_EQ(listen["params"]["notifications"], Json({{"resourceSubscriptions", {"file:///x"}}}));
  process->send(on_stream(listen["id"], "notifications/subscriptions/acknowledged",
                          {{"notifications", {{"resourceSubscriptions", {"file:///x"}}}}}));
  EXPECT_EQ(a->next(), Json({{"jsonrpc", "2.0"}, {"id", 1}, {"result", Json::object()}}));
  process->send(on_stream(listen["id"], "notifications/resources/updated", {{"uri", "file:///x"}}));
  EXPECT_EQ(a->next(), notification("notifications/resources/updated", {{"uri", "file:///x"}}));

  a->send(request(2, "resources/subscribe", {{"uri", "file:///refused"}}));
  process->send(on_stream(process->next()["id"], "notifications/subscriptions/acknowledged",
                          {{"notifications", Json::object()}}));
  EXPECT_EQ(a->next()["error"]["code"], -32602);
  (void)process->next_of("notifications/cancelled");
  EXPECT_EQ(a->ask(3, "resources/unsubscribe", {{"uri", "file:///x"}})["id"], 3);
  EXPECT_EQ(process->next()["params"]["requestId"], listen["id"]);
}

TEST_P(ModernOnlyServer, a_server_that_refuses_either_way_is_told_so) {
  auto a = connect("a");
  a->initialize("s");
  for (int i = 0; i < 2; ++i) {
    auto& process = start_process("s");
    process.shakes_hands = false;
    process.send({{"jsonrpc", "2.0"}, {"id", process.next()["id"]}, {"error", {{"code", -32601}, {"message", "no"}}}});
  }
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], 0);
  EXPECT_EQ(answer["error"]["message"], "server s refuses both initialize and server/discover");
}

TEST_P(ModernOnlyServer, the_end_of_the_client_ends_what_it_had_open) {
  auto [a, process] = begin();
  a->send(request(1, "tools/call", {{"name", "t"}}));
  const auto call = process->next();
  a->hang_up();
  EXPECT_EQ(process->next()["params"]["requestId"], call["id"]);
}

}  // namespace
}  // namespace hal::hub::test
