#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

class Faults : public HubTest {
 public:
  Faults() {
    add_server("s");
    add_worker("a", {"s"});
    add_worker("b", {"s"});
  }

  std::unique_ptr<RelayPeer> ready_client(const std::string& worker) {
    auto client = connect(worker);
    client->initialize("s");
    if (process == nullptr) {
      process = &start_process("s");
    }
    EXPECT_TRUE(client->next().contains("result"));
    client->notify("notifications/initialized");
    EXPECT_EQ(client->ask("ready", "ping")["id"], "ready");
    return client;
  }

  FakeProcess* process = nullptr;
};

TEST_F(Faults, a_crash_answers_what_is_open_and_the_sessions_go_on_with_a_new_process) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->send(request(1, "resources/subscribe", {{"uri", "file:///x"}}));
  process->answer(process->next(), Json::object());
  EXPECT_EQ(a->next()["id"], 1);
  EXPECT_EQ(b->ask(1, "logging/setLevel", {{"level", "info"}})["id"], 1);
  (void)process->next_of("logging/setLevel");
  a->send(request("open", "tools/call"));
  b->send(request(2, "tools/call"));
  (void)process->next();
  (void)process->next();

  crash(*process, "s", "exited with code 3; last stderr: boom");
  const auto failed = a->next();
  EXPECT_EQ(failed["id"], "open");
  EXPECT_EQ(failed["error"],
            Json({{"code", -32603}, {"message", "server s exited with code 3; last stderr: boom, restarting"}}));
  EXPECT_EQ(b->next()["id"], 2);

  a->send(request(3, "tools/list"));  // waits
  auto& second = start_process("s");
  EXPECT_EQ(second.next()["method"], "resources/subscribe");
  EXPECT_EQ(second.next()["params"]["level"], "info");
  const auto waited = second.next();
  EXPECT_EQ(waited["method"], "tools/list");
  EXPECT_EQ(second.handshakes, 1U);
  EXPECT_EQ(second.initialized, 1U);
  EXPECT_EQ(a->next()["method"], "notifications/tools/list_changed");
  EXPECT_EQ(b->next()["method"], "notifications/tools/list_changed");
  second.answer(waited, {{"tools", Json::array()}});
  EXPECT_EQ(a->next()["id"], 3);
  second.send(notification("notifications/resources/updated", {{"uri", "file:///x"}}));
  EXPECT_EQ(a->next()["method"], "notifications/resources/updated");
}

TEST_F(Faults, the_news_of_an_exit_may_come_before_the_last_output) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  a->send(request(2, "tools/call"));
  const auto call = process->next();
  (void)process->next();
  process->answer(call, {{"in time", true}});
  hub->gone({"s", process->instance, "exited with code 0"});
  process->die();
  EXPECT_EQ(a->next()["result"], Json({{"in time", true}}));
  EXPECT_EQ(a->next()["error"]["message"], "server s exited with code 0, restarting");
}

TEST_F(Faults, half_a_line_at_the_end_goes_to_nobody) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  const auto id = process->next()["id"].dump();
  process->write_bytes(R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":{"half)");
  crash(*process, "s", "was killed by signal 9 (Killed)");
  EXPECT_EQ(a->next()["error"]["code"], -32603);
}

TEST_F(Faults, a_process_that_closes_its_output_but_lives_is_given_back) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  (void)process->next();
  process->die();  // and no news of an exit
  EXPECT_EQ(a->next()["error"]["message"], "server s closed its stdio, restarting");
  ASSERT_TRUE(wait_told<link::InstanceRelease>());
  EXPECT_EQ(told<link::InstanceRelease>()[0]->instance, process->instance);
}

TEST_F(Faults, garbage_is_forwarded_to_nobody_and_harms_nothing) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  const auto call = process->next();
  for (const auto* garbage :
       {"Listening on stdio...", "[]", "{}", "null", "{\"jsonrpc\":\"2.0\"}", "\xff\xfe", "   ",
        R"([{"jsonrpc":"2.0","id":1,"result":{}}])", R"({"jsonrpc":"2.0","id":{},"result":{}})"}) {
    process->send_raw(garbage);
  }
  process->write_bytes("\n\r\n\n");
  process->send_raw(std::string(100'000, '{'));
  process->answer(call, {{"good", true}});
  EXPECT_EQ(a->next()["result"]["good"], true);
}

TEST_F(Faults, an_answer_of_200_mib_is_dropped_and_fails_its_request) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->send(request(1, "tools/call"));
  const auto id = process->next()["id"].dump();
  const std::string chunk(std::size_t{1} << 16, 'x');
  process->write_bytes(R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":{"t":")");
  std::size_t written = 0;
  // The pipe takes what the hub has read: turn by turn.
  ASSERT_TRUE(run_until(
      loop,
      [&] {
        while (written < (std::size_t{200} << 20) && process->try_write(chunk)) {
          written += chunk.size();
        }
        return written >= (std::size_t{200} << 20);
      },
      60s));
  ASSERT_TRUE(run_until(loop, [&] { return process->try_write("\"}}\n"); }));
  const auto failed = a->next();
  EXPECT_EQ(failed["id"], 1);
  EXPECT_EQ(failed["error"]["code"], -32603);
  b->send(request(1, "tools/call"));
  process->answer(process->next(), {{"good", true}});
  EXPECT_EQ(b->next()["result"]["good"], true);
}

TEST_F(Faults, a_server_that_cannot_start_fails_fast_until_it_is_worth_another_try) {
  auto a = connect("a");
  a->initialize("s");
  ASSERT_TRUE(wait_told<link::InstanceRequest>());
  hub->unavailable({"s", {}, "no such program: nope", 300});
  EXPECT_EQ(a->next()["error"],
            Json({{"code", -32055}, {"message", "server s is not available: no such program: nope"}}));
  // Before the retry nobody is asked again.
  a->send(request(1, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}}));
  EXPECT_EQ(a->next()["error"]["code"], -32055);
  EXPECT_EQ(told<link::InstanceRequest>().size(), 1U);
}

TEST_F(Faults, sessions_get_their_server_back_by_themselves_after_the_backoff) {
  auto a = ready_client("a");
  crash(*process, "s", "exited with code 1");
  ASSERT_TRUE(wait_told<link::InstanceRequest>(2));
  hub->unavailable({"s", {}, "it failed to start", 20});
  EXPECT_EQ(a->ask(1, "tools/list")["error"]["code"], -32055);
  ASSERT_TRUE(wait_told<link::InstanceRequest>(3));
  start_process("s");  // counts the second request
  EXPECT_EQ(a->next()["method"], "notifications/tools/list_changed");
}

TEST_F(Faults, a_process_nobody_asked_for_is_taken_and_one_of_an_unknown_server_given_back) {
  FakeProcess early(loop, {77}, {});
  hub->attach({"s", {77}, {}, std::move(early.to_server), std::move(early.from_server)});
  auto a = connect("a");
  a->initialize("s");
  EXPECT_TRUE(a->next().contains("result"));
  EXPECT_EQ(early.handshakes, 1U);
  EXPECT_TRUE(told<link::InstanceRequest>().empty());

  FakeProcess stray(loop, {78}, {});
  hub->attach({"nosuch", {78}, {}, std::move(stray.to_server), std::move(stray.from_server)});
  ASSERT_EQ(told<link::InstanceRelease>().size(), 1U);
  EXPECT_TRUE(run_until(loop, [&] { return stray.closed; }));
}

TEST_F(Faults, a_new_daemon_is_told_what_lives_and_asked_again_for_what_is_missing) {
  auto a = ready_client("a");
  auto hello = hub->hello();
  EXPECT_EQ(hello.workers.size(), 2U);
  ASSERT_EQ(hello.instances.size(), 1U);
  EXPECT_EQ(hello.instances[0].instance, process->instance);
  crash(*process, "s", "exited");
  ASSERT_TRUE(wait_told<link::InstanceRequest>(2));
  hub->daemon_returned();
  EXPECT_EQ(told<link::InstanceRequest>().size(), 3U);
  EXPECT_TRUE(hub->hello().instances.empty());
}

TEST_F(Faults, a_slow_server_slows_its_clients_and_loses_nothing) {
  auto a = ready_client("a");
  process->pause();
  const Json large = {{"text", std::string(std::size_t{256} << 10, 'x')}};
  for (int i = 0; i < 40; ++i) {
    a->send(request(i, "tools/call", large));
  }
  run_ready(loop);
  EXPECT_EQ(a->lines.size(), 0U);
  process->on_message = [&](const Json& message) {
    process->answer(message, {{"size", message["params"]["text"].get<std::string>().size()}});
  };
  process->resume();
  for (int i = 0; i < 40; ++i) {
    const auto answer = a->next();
    EXPECT_EQ(answer["id"], i);
    EXPECT_EQ(answer["result"]["size"], std::size_t{256} << 10);
  }
}

TEST_F(Faults, a_client_that_does_not_read_loses_notifications_and_harms_nobody) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->pause();
  const Json large = {{"data", std::string(std::size_t{1} << 20, 'x')}};
  for (int i = 0; i < 12; ++i) {
    process->send(notification("notifications/tools/list_changed", large));
  }
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(b->next()["method"], "notifications/tools/list_changed") << i;
  }
  a->resume();
  a->send(request(1, "ping"));
  int got = 0;
  while (a->next().value("method", "") == "notifications/tools/list_changed") {
    ++got;
  }
  EXPECT_GE(got, 8);
  EXPECT_LT(got, 12);
  EXPECT_FALSE(a->closed);
}

TEST_F(Faults, a_client_that_does_not_read_its_answers_is_read_from_no_more) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->pause();
  const std::string large(std::size_t{1} << 20, 'x');
  int served = 0;
  process->on_message = [&](const Json& message) {
    ++served;
    process->answer(message, {{"text", large}});
  };
  for (int i = 0; i < 5; ++i) {
    a->send(request(i, "tools/call"));
  }
  ASSERT_TRUE(run_until(loop, [&] { return served == 5; }));
  EXPECT_EQ(b->ask(1, "tools/call")["id"], 1);
  for (int i = 5; i < 30; ++i) {
    a->send(request(i, "tools/call"));
  }
  EXPECT_EQ(b->ask(2, "tools/call")["id"], 2);
  EXPECT_EQ(served, 7);
  a->resume();
  for (int i = 0; i < 30 && !HasFailure(); ++i) {
    EXPECT_EQ(a->next()["id"], i);
  }
}

TEST_F(Faults, a_client_with_too_many_unread_answers_loses_its_session_and_harms_nobody) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->pause();
  const std::string large(std::size_t{1} << 20, 'x');
  for (int i = 0; i < 100; ++i) {
    a->send(request(i, "tools/call"));
  }
  for (int i = 0; i < 100 && hub->sessions() == 2; ++i) {
    process->answer(process->next(), {{"text", large}});
    run_ready(loop);
  }
  EXPECT_EQ(hub->sessions(), 1U);
  b->send(request(1, "of b"));
  process->answer(process->next_of("of b"), Json::object());
  EXPECT_EQ(b->next()["id"], 1);
}

TEST_F(Faults, requests_that_take_longer_than_allowed_are_answered_and_cancelled) {
  link::ServerSet server;
  server.name = "s";
  server.request_timeout_ms = 30;
  hub->set_server(server);
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  const auto call = process->next();
  EXPECT_EQ(a->next()["error"]["code"], -32001);
  EXPECT_EQ(process->next()["params"]["requestId"], call["id"]);
  process->answer(call, {{"late", true}});
  EXPECT_EQ(a->ask(2, "ping")["id"], 2);
}

TEST_F(Faults, shutting_down_answers_everything_and_ends_every_session) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  (void)process->next();
  bool idle = false;
  hub->shut_down("the gateway is stopping", [&] { idle = true; });
  EXPECT_EQ(a->next()["error"]["message"], "server s the gateway is stopping");
  EXPECT_TRUE(run_until(loop, [&] { return idle && a->closed; }));
}

}  // namespace
}  // namespace hal::hub::test
