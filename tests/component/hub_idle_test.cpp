#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_until;

class Idle : public Shared {
 public:
  Idle() { set_timeout(50); }

  void set_timeout(std::uint64_t milliseconds) {
    link::ServerSet config;
    config.name = "s";
    config.idle_timeout_ms = milliseconds;
    hub->set_server(config);
  }
  /** Three times the idle time. */
  void let_time_pass() {
    bool passed = false;
    event::Timer timer(loop, "test", [&] { passed = true; });
    timer.arm(150ms);
    EXPECT_TRUE(run_until(loop, [&] { return passed; }));
  }
  [[nodiscard]] std::size_t released() { return told<link::InstanceRelease>().size(); }
};

TEST_F(Idle, a_process_nobody_uses_is_released_and_comes_back_with_the_next_request) {
  auto a = ready_client("a");
  EXPECT_EQ(a->ask(1, "logging/setLevel", {{"level", "error"}})["id"], 1);
  process->answer(process->next_of("logging/setLevel"), Json::object());
  EXPECT_TRUE(wait_told<link::InstanceRelease>());
  EXPECT_TRUE(run_until(loop, [&] { return process->closed; }));
  let_time_pass();
  EXPECT_EQ(told<link::InstanceRequest>().size(), 1U) << "nothing is started for nobody";
  a->send(request(2, "tools/call", {{"x", 1}}));
  process = &start_process("s");
  EXPECT_EQ(process->next_of("logging/setLevel")["params"]["level"], "error");
  process->answer(process->next_of("tools/call"), {{"ok", 1}});
  EXPECT_EQ(a->next()["method"], "notifications/tools/list_changed");
  EXPECT_EQ(a->next(), Json({{"jsonrpc", "2.0"}, {"id", 2}, {"result", {{"ok", 1}}}}));
}

TEST_F(Idle, a_process_with_an_open_request_or_a_subscription_stays) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  const auto call = process->next();
  let_time_pass();
  EXPECT_EQ(released(), 0U);
  a->send(request(2, "resources/subscribe", {{"uri", "x://y"}}));
  process->answer(process->next(), Json::object());
  EXPECT_EQ(a->next()["id"], 2);
  process->answer(call, Json::object());
  EXPECT_EQ(a->next()["id"], 1);
  let_time_pass();
  EXPECT_EQ(released(), 0U);
  a->send(request(3, "resources/unsubscribe", {{"uri", "x://y"}}));
  process->answer(process->next(), Json::object());
  EXPECT_EQ(a->next()["id"], 3);
  EXPECT_TRUE(wait_told<link::InstanceRelease>());
}

TEST_F(Idle, a_process_whose_requests_were_all_cancelled_is_released) {
  auto a = ready_client("a");
  a->send(request(1, "tools/call"));
  (void)process->next();
  a->notify("notifications/cancelled", {{"requestId", 1}});
  (void)process->next_of("notifications/cancelled");
  EXPECT_TRUE(wait_told<link::InstanceRelease>()) << "a server does not answer what was cancelled";
}

TEST_F(Idle, without_a_timeout_a_process_stays) {
  set_timeout(0);
  auto a = ready_client("a");
  let_time_pass();
  EXPECT_EQ(released(), 0U);
  set_timeout(50);
  EXPECT_TRUE(wait_told<link::InstanceRelease>());
}

}  // namespace
}  // namespace hal::hub::test
