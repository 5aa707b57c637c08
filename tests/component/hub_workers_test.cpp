#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

TEST_F(Shared, a_worker_may_use_only_its_servers_and_learns_of_no_other) {
  add_server("secret");
  auto a = connect("a");
  EXPECT_EQ(a->open("secret"), "");
  const auto refused = a->last_error;
  EXPECT_TRUE(run_until(loop, [&] { return a->closed; }));
  auto other = connect("a");
  EXPECT_EQ(other->open("nosuch"), "");
  EXPECT_EQ(refused, "no server secret for this worker");
  EXPECT_EQ(other->last_error, "no server nosuch for this worker");
  auto bad = connect("a");
  bad->send_raw("GET / HTTP/1.1");
  EXPECT_TRUE(bad->next().contains("error"));
  EXPECT_TRUE(run_until(loop, [&] { return bad->closed; }));
}

TEST_F(Shared, a_resumed_session_works_like_a_new_one) {
  (void)ready_client("a");
  auto again = connect("a");
  again->send({{"hal9000", 1}, {"server", "s"}, {"resume", "0123456789abcdef0123456789abcdef"}});
  EXPECT_EQ(again->next()["session"].get<std::string>().size(), 32U);
  EXPECT_TRUE(again->ask(0, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}})
                  .contains("result"));
  again->notify("notifications/initialized");
  again->send(request(1, "tools/list"));
  process->answer(process->next(), {{"tools", Json::array()}});
  EXPECT_EQ(again->next()["result"]["tools"], Json::array());
  EXPECT_EQ(process->handshakes, 1U);
}

TEST_F(Shared, the_sessions_of_a_worker_are_bounded) {
  std::vector<std::unique_ptr<RelayPeer>> clients;
  for (std::size_t i = 0; i < limits::sessions_per_worker; ++i) {
    clients.push_back(connect("a"));
    EXPECT_NE(clients.back()->open("s"), "");
  }
  auto one_more = connect("a");
  EXPECT_EQ(one_more->next()["error"], "too many sessions of this worker");
  auto of_b = connect("b");
  EXPECT_NE(of_b->open("s"), "");
  clients.pop_back();
  run_ready(loop);
  auto free_again = connect("a");
  EXPECT_NE(free_again->open("s"), "");
}

TEST_F(Shared, removal_of_a_worker_ends_its_sessions_and_no_others) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  hub->remove_worker({"a"});
  EXPECT_TRUE(run_until(loop, [&] { return a->closed; }));
  EXPECT_EQ(b->ask(1, "ping")["id"], 1);
}

TEST_F(Shared, removal_of_a_server_answers_what_is_open_and_ends_the_sessions) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  (void)process->next();
  hub->remove_server("s");
  EXPECT_EQ(a->next()["error"]["code"], -32603);
  EXPECT_TRUE(run_until(loop, [&] { return a->closed && process->closed; }));
  EXPECT_EQ(told<link::InstanceRelease>().size(), 1U);
}

TEST_F(Shared, counters_are_reported_together_at_most_once_a_second) {
  auto a = ready_client("a");
  process->on_message = [&](const Json& message) { process->answer(message, Json::object()); };
  for (int i = 0; i < 50; ++i) {
    a->ask(i, "tools/list");
  }
  ASSERT_TRUE(run_until(loop, [&] {
    const auto reports = told<link::ServerReport>();
    return !reports.empty() && reports.back()->traffic.requests >= 51;
  }));
  const auto reports = told<link::ServerReport>();
  EXPECT_LE(reports.size(), 3U);
  EXPECT_EQ(reports.back()->sessions.size(), 1U);
  EXPECT_EQ(reports.back()->protocol_version, "2025-11-25");
  EXPECT_EQ(Json::parse(reports.back()->server_info)["name"], "fake");
  EXPECT_GT(reports.back()->last_activity_usec, 0U);
  EXPECT_FALSE(told<link::WorkerReport>().empty());
}

TEST_F(Shared, the_daemons_own_call_is_a_session_of_its_own) {
  hub->call({1, "s", "tools/list", R"({"cursor":"c"})"});
  process = &start_process("s");
  const auto call = process->next();
  EXPECT_EQ(call["params"]["cursor"], "c");
  process->answer(call, {{"tools", Json::array()}});
  ASSERT_TRUE(wait_told<link::CallResult>());
  EXPECT_EQ(*told<link::CallResult>()[0]->result, R"({"tools":[]})");

  hub->call({2, "s", "tools/call", ""});
  const auto failing = process->next();
  EXPECT_FALSE(failing.contains("params"));
  process->send({{"jsonrpc", "2.0"}, {"id", failing["id"]}, {"error", {{"code", -32602}, {"message", "bad name"}}}});
  ASSERT_TRUE(wait_told<link::CallResult>(2));
  EXPECT_EQ(told<link::CallResult>()[1]->result.error().code, Errc::invalid_argument);
  EXPECT_EQ(told<link::CallResult>()[1]->result.error().message, "bad name");

  hub->call({3, "nosuch", "tools/list", ""});
  hub->call({4, "s", "tools/list", "[1]"});
  hub->call({5, "s", "tools/list", R"({},"id":5)"});
  ASSERT_EQ(told<link::CallResult>().size(), 5U);
  EXPECT_EQ(told<link::CallResult>()[2]->result.error().code, Errc::not_found);
  EXPECT_EQ(told<link::CallResult>()[3]->result.error().code, Errc::invalid_argument);
  EXPECT_EQ(told<link::CallResult>()[4]->result.error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace hal::hub::test
