#include "worker/claude_session.hpp"
#include "worker_support.hpp"

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using worker::State;

std::uint64_t now_usec() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count());
}

struct IdleFixture : public RegistryFixture {
  IdleFixture() { settings.profiles["base"].idle_timeout = 300ms; }
  [[nodiscard]] const worker::Worker& at(const WorkerId& id) const { return *registry->find(id); }
};

TEST_F(IdleFixture, AnIdleWorkerIsStoppedAndRestartsWithItsConversation) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  ASSERT_TRUE(run_until(loop, [&] { return at(*id).state == State::exited; }));
  EXPECT_EQ(at(*id).reason, "idle for 00:00:00");
  EXPECT_EQ(at(*id).restarts, 0U) << "that is no failure";
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
  EXPECT_EQ(at(*id).state, State::running);
  EXPECT_EQ(inits.back()->requests.back().argv, worker::session_command(at(*id), true));
}

/** Each kind of activity, going on for longer than the timeout, keeps the worker. */
TEST_F(IdleFixture, ActivityKeepsIt) {
  const std::pair<const char*, std::function<void(const WorkerId&)>> kinds[] = {
      {"bytes on a terminal", [this](const WorkerId&) { terminal_activity = now_usec(); }},
      {"calls of its MCP servers", [this](const WorkerId& id) { registry->note_activity(id, now_usec()); }},
      {"what is sent", [this](const WorkerId& id) { registry->send(id, "x", [](const Result<void>&) {}); }},
      {"CPU time", [this](const WorkerId&) { usage_now.cpu_nanoseconds += 50'000'000; }},
  };
  for (const auto& [what, act] : kinds) {
    const auto id = spawn(std::string("/srv/") + what);
    ASSERT_TRUE(id);
    const auto until = std::chrono::steady_clock::now() + 1s;
    event::Timer timer(loop, "activity", [&] {
      act(*id);
      timer.arm(50ms);
    });
    timer.arm(0ms);
    ASSERT_TRUE(run_until(loop, [&] { return std::chrono::steady_clock::now() > until; }));
    EXPECT_EQ(at(*id).state, State::running) << what;
    EXPECT_GE(registry->last_activity(*id), at(*id).created_usec) << what;
    timer.disarm();
    EXPECT_TRUE(run_until(loop, [&] { return at(*id).state == State::exited; })) << what;
  }
}

TEST_F(IdleFixture, LookingIsNoUse) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  event::Timer timer(loop, "look", [&] {
    registry->capture(*id, 0, [](const Result<std::string>&) {});
    timer.arm(50ms);
  });
  timer.arm(0ms);
  EXPECT_TRUE(run_until(loop, [&] { return at(*id).state == State::exited; }));
}

TEST_F(IdleFixture, AProfileThatChangesItsMindIsHeardAtOnce) {
  settings.profiles["base"].idle_timeout = 0ms;
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  const auto until = std::chrono::steady_clock::now() + 500ms;
  ASSERT_TRUE(run_until(loop, [&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_EQ(at(*id).state, State::running);
  settings.profiles["base"].idle_timeout = 1h;
  registry->on_profiles_changed();
  settings.profiles["base"].idle_timeout = 200ms;
  registry->on_profiles_changed();
  EXPECT_TRUE(run_until(loop, [&] { return at(*id).state == State::exited; }));
}

TEST_F(IdleFixture, APausedWorkerIsLeftAlone) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->pause(*id, std::move(done)); }));
  const auto until = std::chrono::steady_clock::now() + 1s;
  ASSERT_TRUE(run_until(loop, [&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_EQ(at(*id).state, State::running);
}

}  // namespace
}  // namespace hal::test
