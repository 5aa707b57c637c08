#include "hub_modern_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

TEST_F(ModernHub, clients_share_a_process_of_their_own_beside_that_of_legacy_clients) {
  auto old = connect("a");
  old->initialize("s");
  auto& legacy = start_process("s");
  EXPECT_FALSE(legacy.session);
  EXPECT_EQ(old->next()["result"]["protocolVersion"], "2025-11-25");

  auto a = client("a");
  auto b = client("b");
  a->send(modern(1, "tools/call", {{"name", "x"}, {"_meta", {{"progressToken", "t"}}}}));
  b->send(modern(1, "tools/call", {{"name", "y"}, {"_meta", {{"progressToken", "t"}}}}));
  auto& process = modern_process();
  auto x = process.next();
  auto y = process.next();
  if (x["params"]["name"] != "x") {
    std::swap(x, y);
  }
  EXPECT_NE(x["id"], y["id"]);
  EXPECT_EQ(x["params"]["_meta"]["progressToken"], x["id"]);
  EXPECT_EQ(x["params"]["_meta"][version_key], "2026-07-28");
  process.send(notification("notifications/progress", {{"progressToken", y["id"]}, {"progress", 1}}));
  process.answer(y, {{"resultType", "complete"}, {"of", "y"}});
  process.answer(x, {{"resultType", "complete"}, {"of", "x"}});
  EXPECT_EQ(a->next()["result"]["of"], "x");
  EXPECT_EQ(b->next()["params"]["progressToken"], "t");
  const auto answer = b->next();
  EXPECT_EQ(answer["id"], 1);
  EXPECT_EQ(answer["result"]["of"], "y");

  old->send(request(1, "tools/list"));
  EXPECT_EQ(legacy.next()["method"], "tools/list");
  EXPECT_TRUE(process.lines.empty());
  EXPECT_EQ(told<link::InstanceRequest>().size(), 2U);
}

TEST_F(ModernHub, what_a_modern_server_answers_is_passed_as_it_is) {
  auto a = client("a");
  const std::string ask =
      R"({"id":"i\u0041" ,"params":{"requestState":"s", "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}},"method":"tools/call","jsonrpc":"2.0"})";
  a->send_raw(ask);
  auto& process = modern_process();
  const auto line = process.next_raw();
  const auto id = Json::parse(line)["id"].dump();
  EXPECT_EQ(line, R"({"id":)" + id + ask.substr(ask.find(" ,")));
  process.send_raw(R"({"result": {"resultType":"input_required","requestState":"\u0041"},"id":)" + id +
                   R"(,"jsonrpc":"2.0"})");
  EXPECT_EQ(a->next_raw(),
            R"({"result": {"resultType":"input_required","requestState":"\u0041"},"id":"i\u0041","jsonrpc":"2.0"})");
}

TEST_F(ModernHub, streams_keep_the_ids_of_their_clients) {
  auto a = client("a");
  auto b = client("b");
  a->send(modern(7, "subscriptions/listen", {{"notifications", {{"toolsListChanged", true}}}}));
  auto& process = modern_process();
  const auto of_a = process.next();
  b->send(modern("7", "subscriptions/listen", {{"notifications", {{"toolsListChanged", true}}}}));
  const auto of_b = process.next();
  for (const auto& listen : {of_a, of_b}) {
    process.send(on_stream(listen["id"], "notifications/subscriptions/acknowledged"));
  }
  EXPECT_EQ(a->next()["params"]["_meta"][stream_key], 7);
  EXPECT_EQ(b->next()["params"]["_meta"][stream_key], "7");
  process.send(on_stream(of_b["id"], "notifications/tools/list_changed"));
  EXPECT_EQ(b->next()["params"]["_meta"][stream_key], "7");
  process.send(on_stream(99, "notifications/tools/list_changed"));  // of nobody

  a->notify("notifications/cancelled", {{"requestId", 7}});
  EXPECT_EQ(process.next()["params"]["requestId"], of_a["id"]);
  process.send(on_stream(of_a["id"], "notifications/tools/list_changed"));
  process.answer(of_b, {{"resultType", "complete"}, {"_meta", {{stream_key, of_b["id"]}}}});
  const auto end = b->next();
  EXPECT_EQ(end["id"], "7");
  EXPECT_EQ(end["result"]["_meta"][stream_key], "7");
  run_ready(loop);
  EXPECT_TRUE(a->lines.empty());
}

TEST_F(ModernHub, a_server_may_end_a_stream_by_a_notification) {
  auto a = client("a");
  a->send(modern(7, "subscriptions/listen"));
  auto& process = modern_process();
  const auto listen = process.next();
  process.send(notification("notifications/cancelled", {{"requestId", listen["id"]}}));
  EXPECT_EQ(a->next()["params"]["requestId"], 7);
  a->send(modern(7, "tools/list"));  // the id is free again
  EXPECT_EQ(process.next()["method"], "tools/list");
}

TEST_F(ModernHub, cancelled_requests_and_those_of_clients_that_leave_are_cancelled_at_the_server) {
  auto a = client("a");
  a->send(modern("x", "tools/call"));
  a->send(modern("y", "tools/call"));
  auto& process = modern_process();
  const auto x = process.next();
  const auto y = process.next();
  a->notify("notifications/cancelled", {{"requestId", "x"}});
  EXPECT_EQ(process.next()["params"]["requestId"], x["id"]);
  process.answer(x, Json::object());
  a->hang_up();
  const auto cancelled = process.next();
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["params"]["requestId"], y["id"]);
}

TEST_F(ModernHub, log_messages_go_to_the_only_client_that_wants_them) {
  auto a = client("a");
  auto b = client("b");
  a->send(modern(1, "tools/call", {{"_meta", {{level_key, "info"}}}}));
  auto& process = modern_process();
  const auto of_a = process.next();
  b->send(modern(1, "tools/call"));
  (void)process.next();
  process.send(notification("notifications/message", {{"level", "info"}, {"data", "one"}}));
  EXPECT_EQ(a->next()["params"]["data"], "one");
  b->send(modern(2, "tools/call", {{"_meta", {{level_key, "info"}}}}));
  (void)process.next();
  process.send(notification("notifications/message", {{"level", "info"}, {"data", "whose?"}}));
  process.answer(of_a, Json::object());
  EXPECT_EQ(a->next()["id"], 1);
  EXPECT_TRUE(b->lines.empty());
}

TEST_F(ModernHub, a_crash_answers_what_is_open_and_the_next_request_gets_another_process) {
  auto a = client("a");
  a->send(modern(1, "tools/call"));
  a->send(modern(2, "subscriptions/listen"));
  auto& process = modern_process();
  (void)process.next();
  (void)process.next();
  crash(process, "s", "exited with code 3");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(a->next()["error"], Json({{"code", -32603}, {"message", "server s exited with code 3"}}));
  }
  a->send(modern(1, "tools/list"));
  auto& fresh = modern_process();
  fresh.answer(fresh.next_of("tools/list"), {{"tools", Json::array()}});
  EXPECT_EQ(a->next()["id"], 1);
}

TEST_F(ModernHub, rules_hold_and_what_they_refuse_is_a_result_of_the_revision) {
  policy::ToolRules rules;
  rules.deny.push_back({"secret", {}});
  link::ServerSet server;
  server.name = "s";
  server.tools = rules;
  hub->set_server(server);
  auto a = client("a");
  a->send(modern(1, "tools/call", {{"name", "secret"}}));
  const auto refused = a->next();
  EXPECT_EQ(refused["result"]["isError"], true);
  EXPECT_EQ(refused["result"]["resultType"], "complete");
  a->send(modern(2, "tools/list"));
  auto& process = modern_process();
  process.answer(process.next(), {{"resultType", "complete"}, {"tools", {{{"name", "secret"}}, {{"name", "open"}}}}});
  EXPECT_EQ(a->next()["result"]["tools"], Json({{{"name", "open"}}}));
}

TEST_F(ModernHub, an_unavailable_process_is_told_to_who_waits) {
  auto a = client("a");
  a->send(modern(1, "tools/list"));
  ASSERT_TRUE(wait_told<link::InstanceRequest>());
  const auto session = told<link::InstanceRequest>()[0]->session;
  hub->unavailable({"s", std::nullopt, "of the other process", std::nullopt});
  run_ready(loop);
  EXPECT_TRUE(a->lines.empty());
  hub->unavailable({"s", session, "it fails", std::nullopt});
  EXPECT_EQ(a->next()["error"], Json({{"code", -32603}, {"message", "server s is not available: it fails"}}));
}

TEST_F(ModernHub, a_daemon_that_returns_is_told_of_both_processes) {
  auto old = connect("a");
  old->initialize("s");
  (void)start_process("s");
  (void)old->next();
  auto a = client("a");
  a->send(modern(1, "tools/list"));
  (void)modern_process().next();
  const auto hello = hub->hello();
  ASSERT_EQ(hello.instances.size(), 2U);
  EXPECT_FALSE(hello.instances[0].session);
  ASSERT_TRUE(hello.instances[1].session);
  EXPECT_EQ(hello.instances[1].session->value, "2026-07-28");
}

TEST_F(ModernHub, the_server_is_removed_with_requests_open) {
  auto a = client("a");
  a->send(modern(1, "tools/call"));
  (void)modern_process().next();
  hub->remove_server("s");
  EXPECT_EQ(a->next()["error"]["message"], "server s server s was removed");
  EXPECT_TRUE(run_until(loop, [&] { return a->closed; }));
}

class ModernSessions : public ModernHub {
 public:
  ModernSessions() : ModernHub(link::ServerMode::session) {}
};

TEST_F(ModernSessions, each_client_has_a_process_of_its_own) {
  auto a = client("a");
  auto b = client("b");
  a->send(modern(1, "tools/call"));
  auto& of_a = modern_process();
  b->send(modern(1, "tools/call"));
  auto& of_b = modern_process();
  EXPECT_NE(of_a.session, of_b.session);
  of_b.answer(of_b.next(), {{"of", "b"}});
  of_a.answer(of_a.next(), {{"of", "a"}});
  EXPECT_EQ(a->next()["result"]["of"], "a");
  EXPECT_EQ(b->next()["result"]["of"], "b");
  a->hang_up();
  ASSERT_TRUE(wait_told<link::InstanceRelease>());
  EXPECT_EQ(told<link::InstanceRelease>()[0]->instance, of_a.instance);
}

}  // namespace
}  // namespace hal::hub::test
