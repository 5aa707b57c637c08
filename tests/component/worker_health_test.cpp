#include "worker/claude_session.hpp"
#include "worker/health_policy.hpp"
#include "worker_support.hpp"

#include <signal.h>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using worker::State;

/** A worker's ends and what becomes of it. */
struct HealthFixture : public RegistryFixture {
  [[nodiscard]] const worker::Worker& at(const WorkerId& id) const { return *registry->find(id); }
  [[nodiscard]] bool until(const WorkerId& id, State state, std::uint32_t restarts) {
    return run_until(
        loop, [&] { return at(id).state == state && at(id).restarts == restarts; }, 30s);
  }
  /** As init tells it. */
  void end_command(int wait_status) {
    init::Record record;
    record.kind = init::RecordKind::main_exited;
    record.id = ExecId{1};
    record.status = wait_status;
    inits.back()->send(record);
    run_ready(loop);
  }
};

TEST_F(HealthFixture, AKilledContainerIsReplacedAsTheSameWorker) {
  const auto id = spawn("/srv/project", [](worker::SpawnRequest& r) {
    r.command = {"sleep", "infinity"};
    r.env = {{"A", "b"}};
    r.memory_bytes = std::uint64_t{1} << 28;
    r.read_only = true;
  });
  ASSERT_TRUE(id);
  const worker::Worker before = at(*id);
  runtime.die(before.container, 137);
  ASSERT_TRUE(until(*id, State::running, 1)) << at(*id).reason;
  const worker::Worker& now = at(*id);
  EXPECT_NE(now.container, before.container);
  EXPECT_EQ(now.owner, before.owner);
  EXPECT_EQ(now.name, before.name);
  EXPECT_EQ(now.workspace, before.workspace);
  EXPECT_EQ(now.command, before.command);
  EXPECT_EQ(now.env, before.env);
  EXPECT_EQ(now.servers, before.servers);
  EXPECT_EQ(now.limits.memory_bytes, before.limits.memory_bytes);
  EXPECT_TRUE(now.read_only);
  EXPECT_NE(now.reason.find("made anew: the container ended with code 137"), std::string::npos) << now.reason;
  EXPECT_EQ(runtime.containers.size(), 1U);
  EXPECT_NE(std::find(recorder.events.begin(), recorder.events.end(), "changed unhealthy"), recorder.events.end());
  EXPECT_EQ(std::find(recorder.events.begin(), recorder.events.end(), "changed exited"), recorder.events.end());
}

TEST_F(HealthFixture, OnlyFailuresAreReplaced) {
  const struct {
    const char* what;
    std::function<void(const WorkerId&)> happen;
    bool replaced;
  } cases[] = {
      {"ends", [this](auto& id) { end_command(3 << 8), runtime.die(at(id).container, 3); }, false},
      {"crashes", [this](auto& id) { end_command(SIGSEGV), runtime.die(at(id).container, 139); }, true},
      {"is out of memory", [this](auto& id) { end_command(SIGKILL), runtime.die(at(id).container, 137, true); }, true},
      {"has a child out of memory", [this](auto& id) { end_command(1 << 8), runtime.die(at(id).container, 1, true); },
       false},
      {"is stopped", [this](auto& id) { registry->stop(id, 1s, [](const Result<void>&) {}); }, false},
      {"is killed by its owner", [this](auto& id) { registry->kill(id, SIGKILL, [](const Result<void>&) {}); }, false},
      {"is sent the signal that ends it",
       [this](auto& id) {
         registry->kill(id, SIGUSR1, [](const Result<void>&) {});
         end_command(SIGUSR1), runtime.die(at(id).container, 128 + SIGUSR1);
       },
       false},
      {"is asked to end and crashes",
       [this](auto& id) {
         registry->kill(id, SIGTERM, [](const Result<void>&) {});
         end_command(SIGSEGV), runtime.die(at(id).container, 139);
       },
       true},
      {"vanishes", [this](auto& id) { runtime.vanish(at(id).container); }, true},
  };
  for (const auto& one : cases) {
    const auto id = spawn(std::string("/srv/") + one.what);
    ASSERT_TRUE(id);
    one.happen(*id);
    EXPECT_TRUE(until(*id, one.replaced ? State::running : State::exited, one.replaced ? 1 : 0))
        << one.what << ": " << name(at(*id).state) << ": " << at(*id).reason;
  }
}

TEST_F(HealthFixture, AnOwnersSignalThatDoesNotEndItMakesNoFailureWanted) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->kill(*id, SIGUSR1, std::move(done)); }));
  runtime.die(at(*id).container, 137);
  EXPECT_TRUE(until(*id, State::running, 1)) << at(*id).reason;
}

TEST_F(HealthFixture, GivesUpAfterTheBudgetUntilItsOwnerRestartsIt) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  for (std::uint32_t i = 1; i <= worker::replacements_at_most; ++i) {
    runtime.die(at(*id).container, 137);
    ASSERT_TRUE(until(*id, State::running, i)) << i << ": " << at(*id).reason;
  }
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(run_until(loop, [&] { return at(*id).state == State::failed; }));
  EXPECT_NE(at(*id).reason.find("code 137; it has been made anew 4 times within 10 minutes"), std::string::npos)
      << at(*id).reason;
  restart_daemon();  // which does not make it anew either
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  EXPECT_EQ(at(*id).state, State::failed);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
  runtime.die(at(*id).container, 137);
  EXPECT_TRUE(until(*id, State::running, 6)) << at(*id).reason;
}

TEST_F(HealthFixture, TheBudgetIsNotRenewedByARestartOfTheDaemon) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  for (std::uint32_t i = 1; i <= worker::replacements_at_most; ++i) {
    runtime.die(at(*id).container, 137);
    ASSERT_TRUE(until(*id, State::running, i)) << i << ": " << at(*id).reason;
    restart_daemon();
    ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
    ASSERT_EQ(at(*id).state, State::running);
  }
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(run_until(loop, [&] { return at(*id).state == State::failed; })) << at(*id).reason;
  EXPECT_NE(at(*id).reason.find("made anew 4 times"), std::string::npos) << at(*id).reason;
}

/** What the follower does about it is not its owner's wish. */
TEST_F(HealthFixture, AReplacementCutShortByTheEndOfTheDaemonCounts) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  runtime.hold("create");
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(run_until(loop, [&] { return at(*id).state == State::creating; }));
  runtime.release("create");
  restart_daemon();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  ASSERT_EQ(at(*id).state, State::failed);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
  EXPECT_EQ(at(*id).replaced_usec.size(), 1U);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); })) << "this is its owner's";
  EXPECT_TRUE(at(*id).replaced_usec.empty());
}

TEST_F(HealthFixture, AReplacementThatFailsCountsAndIsTriedAgain) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  runtime.fail("create", {Errc::unavailable, "no space"});
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(until(*id, State::unhealthy, 1));
  ASSERT_TRUE(run_until(loop, [&] { return at(*id).reason.find("no space") != std::string::npos; })) << at(*id).reason;
  runtime.heal();
  EXPECT_TRUE(until(*id, State::running, 2)) << at(*id).reason;
}

TEST_F(HealthFixture, WhatIsMissingForAReplacementIsWaitedFor) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  parent = {};
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(run_until(loop, [&] { return at(*id).reason.find("parent container") != std::string::npos; }))
      << at(*id).reason;
  EXPECT_EQ(at(*id).state, State::unhealthy);
  EXPECT_EQ(at(*id).restarts, 0U);
  parent = ContainerId{"holder"};
  registry->on_makeable();
  EXPECT_TRUE(until(*id, State::running, 1)) << at(*id).reason;
}

TEST_F(HealthFixture, StopWhileItWaitsToBeMadeAnewEndsIt) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  parent = {};
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(until(*id, State::unhealthy, 0));
  ASSERT_TRUE(wait([&](Done<void> done) { registry->stop(*id, 1s, std::move(done)); }));
  EXPECT_EQ(at(*id).state, State::exited);
  EXPECT_EQ(at(*id).exit_code, 137);
  parent = ContainerId{"holder"};
  registry->on_makeable();
  run_ready(loop);
  EXPECT_EQ(at(*id).state, State::exited);
}

TEST_F(HealthFixture, RemoveWhileItWaitsToBeMadeAnewForgetsIt) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(until(*id, State::unhealthy, 0));
  ASSERT_TRUE(wait([&](Done<void> done) { registry->remove(*id, std::move(done)); }));
  run_ready(loop);
  EXPECT_EQ(registry->find(*id), nullptr);
  EXPECT_TRUE(runtime.containers.empty());
}

TEST_F(HealthFixture, WhatEndedWhileTheDaemonWasAwayIsJudgedTheSame) {
  const auto killed = spawn("/srv/a");
  const auto ended = spawn("/srv/b");
  const auto lost = spawn("/srv/c");
  ASSERT_TRUE(killed && ended && lost);
  const auto containers = {at(*killed).container, at(*ended).container, at(*lost).container};
  registry.reset();
  runtime.set_listener(nullptr);
  runtime.die(containers.begin()[0], 137);
  runtime.die(containers.begin()[1], 5);
  runtime.vanish(containers.begin()[2]);
  restart_daemon();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  EXPECT_TRUE(until(*killed, State::running, 1)) << at(*killed).reason;
  EXPECT_TRUE(until(*lost, State::running, 1)) << at(*lost).reason;
  EXPECT_EQ(at(*ended).state, State::exited);
}

TEST_F(HealthFixture, AnInitThatDoesNotAnswerIsReplaced) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  inits.back()->mute = true;
  std::optional<Errc> error;
  worker::ExecRequest request;
  request.argv = {"true"};
  registry->exec(*id, std::move(request), [&](const Result<worker::Stream>& stream) { error = stream.error().code; });
  ASSERT_TRUE(until(*id, State::running, 1)) << at(*id).reason;
  EXPECT_TRUE(error);
  EXPECT_NE(at(*id).reason.find("does not answer"), std::string::npos) << at(*id).reason;
}

TEST_F(HealthFixture, AProgramThatIsSlowToStartIsNoSilence) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  inits.back()->starts_nothing = true;
  std::optional<Errc> error;
  worker::ExecRequest request;
  request.argv = {"slow"};
  registry->exec(*id, std::move(request), [&](const Result<worker::Stream>& stream) { error = stream.error().code; });
  ASSERT_TRUE(run_until(
      loop, [&] { return error.has_value(); }, 30s));
  EXPECT_EQ(error, Errc::timed_out);
  EXPECT_GE(inits.back()->pings, 1);
  EXPECT_EQ(at(*id).state, State::running);
  EXPECT_EQ(at(*id).restarts, 0U);
}

TEST_F(HealthFixture, AFailingHealthCheckOfTheImageReplacesOrTells) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  runtime.check_health(at(*id).container, false);
  ASSERT_TRUE(until(*id, State::running, 1)) << at(*id).reason;

  settings.profiles["base"].restart_on_failure = false;
  runtime.check_health(at(*id).container, false);
  ASSERT_TRUE(until(*id, State::unhealthy, 1));
  runtime.check_health(at(*id).container, true);
  ASSERT_TRUE(until(*id, State::running, 1));
  runtime.check_health(at(*id).container, false);
  ASSERT_TRUE(until(*id, State::unhealthy, 1));
  ASSERT_TRUE(wait([&](Done<void> done) { registry->stop(*id, 1s, std::move(done)); }));
  EXPECT_EQ(at(*id).state, State::exited);
}

TEST_F(HealthFixture, ClaudeGoesOnWithTheSameConversation) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  EXPECT_EQ(inits.back()->requests.back().argv, worker::session_command(at(*id), false));
  runtime.die(at(*id).container, 137);
  ASSERT_TRUE(until(*id, State::running, 1));
  EXPECT_EQ(inits.back()->requests.back().argv, worker::session_command(at(*id), true));

  init_exit_codes["/usr/bin/test"] = 1;  // nothing was said yet
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
  EXPECT_EQ(inits.back()->requests.back().argv, worker::session_command(at(*id), false));
}

}  // namespace
}  // namespace hal::test
