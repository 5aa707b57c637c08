#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

class Session : public HubTest {
 public:
  Session() {
    add_server("s", link::ServerMode::session);
    add_worker("a", {"s"});
    add_worker("b", {"s"});
  }
};

TEST_F(Session, each_client_has_a_process_of_its_own_and_messages_pass_as_they_are) {
  auto a = connect("a");
  const auto session_a = a->open("s");
  const std::string hello =
      R"({"id":0 ,"jsonrpc":"2.0","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"y"}}})";
  a->send_raw(hello);
  auto& process_a = start_process("s");
  process_a.shakes_hands = false;
  EXPECT_EQ(process_a.session, session_a);
  EXPECT_EQ(process_a.next_raw(), hello);
  const std::string answer =
      R"({"id":0,"jsonrpc":"2.0","result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"own","version":"1"}}})";
  process_a.send_raw(answer);
  EXPECT_EQ(a->next_raw(), answer);

  auto b = connect("b");
  b->open("s");
  b->send(request(0, "initialize"));
  auto& process_b = start_process("s");
  EXPECT_NE(process_b.session, session_a);
  EXPECT_EQ(b->next()["id"], 0);

  process_a.send(request(1, "elicitation/create"));
  EXPECT_EQ(a->next()["method"], "elicitation/create");
  a->send({{"jsonrpc", "2.0"}, {"id", 1}, {"result", {{"action", "accept"}}}});
  EXPECT_EQ(process_a.next()["result"]["action"], "accept");
  EXPECT_TRUE(b->lines.empty());
  ASSERT_TRUE(run_until(loop, [&] {
    const auto reports = told<link::ServerReport>();
    return !reports.empty() && reports.back()->server_info.find("\"name\"") != std::string::npos;
  }));
}

TEST_F(Session, everything_sent_before_the_process_runs_arrives_in_order) {
  auto a = connect("a");
  a->open("s");
  a->send(request(0, "initialize"));
  a->notify("notifications/initialized");
  a->send(request(1, "tools/list"));
  run_ready(loop);
  auto& process = start_process("s");
  process.shakes_hands = false;
  EXPECT_EQ(process.next()["method"], "initialize");
  EXPECT_EQ(process.next()["method"], "notifications/initialized");
  EXPECT_EQ(process.next()["method"], "tools/list");
}

TEST_F(Session, a_crash_answers_every_open_request_and_ends_the_session) {
  auto a = connect("a");
  a->initialize("s");
  auto& process = start_process("s");
  a->next();
  a->send(request(1, "tools/call"));
  a->send(request("two", "tools/call"));
  a->send(request(3, "tools/call"));
  a->notify("notifications/cancelled", {{"requestId", 3}});
  (void)process.next_of("notifications/cancelled");
  crash(process, "s", "exited with code 3");
  std::set<std::string> failed;
  for (int i = 0; i < 2; ++i) {
    const auto answer = a->next();
    EXPECT_EQ(answer["error"], Json({{"code", -32603}, {"message", "server s exited with code 3"}}));
    failed.insert(answer["id"].dump());
  }
  EXPECT_EQ(failed, (std::set<std::string>{"1", "\"two\""}));
  EXPECT_TRUE(run_until(loop, [&] { return a->closed; }));
  EXPECT_TRUE(a->lines.empty());
}

TEST_F(Session, the_end_of_a_session_cancels_and_releases_its_process) {
  auto a = connect("a");
  a->initialize("s");
  auto& process = start_process("s");
  a->next();
  a->send(request(9, "tools/call"));
  (void)process.next();
  a->hang_up();
  EXPECT_EQ(process.next()["params"]["requestId"], 9);
  ASSERT_TRUE(wait_told<link::InstanceRelease>());
  EXPECT_EQ(told<link::InstanceRelease>()[0]->instance, process.instance);
  EXPECT_TRUE(run_until(loop, [&] { return process.closed; }));
}

TEST_F(Session, a_process_that_comes_after_its_session_left_is_given_back) {
  auto a = connect("a");
  a->initialize("s");
  ASSERT_TRUE(wait_told<link::InstanceRequest>());
  a->hang_up();
  run_ready(loop);
  auto& process = start_process("s");
  ASSERT_TRUE(wait_told<link::InstanceRelease>());
  EXPECT_TRUE(run_until(loop, [&] { return process.closed; }));
}

TEST_F(Session, a_server_that_cannot_start_is_told_and_may_be_tried_again) {
  auto a = connect("a");
  const auto session = a->open("s");
  a->send(request(0, "initialize"));
  ASSERT_TRUE(wait_told<link::InstanceRequest>());
  hub->unavailable({"s", link::SessionId{session}, "too many processes", {}});
  EXPECT_EQ(a->next()["error"]["message"], "server s is not available: too many processes");
  a->send(request(0, "initialize"));
  ASSERT_TRUE(wait_told<link::InstanceRequest>(2));
}

TEST_F(Session, responses_to_nothing_asked_stop_here) {
  auto a = connect("a");
  a->initialize("s");
  auto& process = start_process("s");
  a->next();
  a->send(request(1, "tools/call"));
  const auto call = process.next();
  process.send({{"jsonrpc", "2.0"}, {"id", "1"}, {"result", Json::object()}});  // another type
  process.answer(call, {{"n", 1}});
  process.answer(call, {{"n", 2}});
  process.send_raw("garbage");
  EXPECT_EQ(a->next()["result"]["n"], 1);
  a->send(request(1, "tools/call"));  // the id is free again
  process.answer(process.next(), {{"n", 3}});
  EXPECT_EQ(a->next()["result"]["n"], 3);
}

TEST_F(Session, a_slow_client_slows_its_own_process_only_and_loses_nothing) {
  auto a = connect("a");
  a->initialize("s");
  auto& process = start_process("s");
  a->next();
  a->pause();
  const std::string large(std::size_t{1} << 20, 'x');
  for (int i = 0; i < 30; ++i) {
    a->send(request(i, "tools/call"));
  }
  std::vector<Json> calls;
  for (int i = 0; i < 30; ++i) {
    calls.push_back(process.next());
  }
  for (const auto& call : calls) {
    process.answer(call, {{"text", large}});
  }
  run_ready(loop);
  EXPECT_GT(process.queued_bytes(), std::size_t{8} << 20);  // the hub reads no further
  a->resume();
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(a->next()["id"], i);
  }
}

TEST_F(Session, the_daemons_own_call_has_a_process_for_itself) {
  hub->call({1, "s", "tools/list", "{}"});
  auto& process = start_process("s");
  process.answer(process.next(), {{"tools", Json::array()}});
  ASSERT_TRUE(wait_told<link::CallResult>());
  EXPECT_EQ(*told<link::CallResult>()[0]->result, R"({"tools":[]})");
  ASSERT_TRUE(wait_told<link::InstanceRelease>());
}

TEST_F(Session, a_changed_mode_ends_the_sessions_and_makes_a_new_server) {
  auto a = connect("a");
  a->initialize("s");
  auto& process = start_process("s");
  a->next();
  add_server("s", link::ServerMode::shared);
  EXPECT_TRUE(run_until(loop, [&] { return a->closed && process.closed; }));
  auto again = connect("a");
  again->initialize("s");
  auto& shared = start_process("s");
  EXPECT_FALSE(shared.session);
  EXPECT_TRUE(again->next().contains("result"));
}

}  // namespace
}  // namespace hal::hub::test
