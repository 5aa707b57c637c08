#include "worker/follower.hpp"
#include "worker_support.hpp"

#include <algorithm>

namespace hal::test {
namespace {

using worker::State;

/** Workers of a real registry; the parent is replaced by the test. */
struct FollowerFixture : public RegistryFixture {
  FollowerFixture() { make_follower(); }

  void make_follower() {
    follower.reset();
    follower = std::make_unique<worker::Follower>(worker::Follower::Parts{
        loop, *registry, [this] { return registry->stranded(); }, [this] { return possible; }, times});
  }

  WorkerId running(const std::string& path) {
    const auto id = spawn(path);
    EXPECT_TRUE(id) << id.error().message;
    return id.value_or(WorkerId{});
  }
  void replace_parent() {
    in_parent_network = false;
    registry->on_parent_replaced();
    in_parent_network = true;  // of those that are made from now on
    follower->look();
  }
  /** Looks until the worker was made anew so often. */
  bool follows(const WorkerId& id, std::uint32_t restarts = 1) {
    return run_until(loop, [&] {
      const auto* now = registry->find(id);
      return now->restarts == restarts && now->state == State::running;
    });
  }
  /** Whether it stays as it is for so many looks of the follower. */
  bool stays(const WorkerId& id, int looks = 20) {
    event::Timer tick(loop, "test", [&] {
      if (--looks > 0) {
        tick_->arm(times.look);
      }
    });
    tick_ = &tick;
    tick.arm(times.look);
    EXPECT_TRUE(run_until(loop, [&] { return looks == 0; }));
    return registry->find(id)->restarts == 0;
  }

  worker::Follower::Times times{5ms, 20ms, 1h};
  bool possible = true;
  event::Timer* tick_ = nullptr;
  std::unique_ptr<worker::Follower> follower;
};

TEST_F(FollowerFixture, QuietWorkersFollowOneByOneAndOthersStay) {
  const auto a = running("/srv/a");
  const auto b = running("/srv/b");
  const auto alone = spawn("/srv/alone", [](worker::SpawnRequest& r) { r.network = worker::Network::isolated; });
  ASSERT_TRUE(alone);
  recorder.events.clear();
  replace_parent();
  EXPECT_NE(registry->find(a)->reason.find("replaced"), std::string::npos);
  ASSERT_TRUE(follows(a) && follows(b));
  EXPECT_EQ(registry->find(*alone)->restarts, 0U);
  // Each is down and up again before the next one goes.
  std::vector<std::string> states;
  for (const auto& event : recorder.events) {
    if (event == "changed creating" || (event == "changed running" && !states.empty() && states.back() != event)) {
      states.push_back(event);
    }
  }
  EXPECT_EQ(states,
            (std::vector<std::string>{"changed creating", "changed running", "changed creating", "changed running"}));
  EXPECT_EQ(registry->find(a)->reason, "");
}

TEST_F(FollowerFixture, WhatIsInUseFollowsWhenItIsNotAnyMore) {
  init_stays_running = true;
  const auto id = running("/srv/a");
  std::optional<Result<worker::Stream>> program;
  worker::ExecRequest request;
  request.argv = {"cat"};
  registry->exec(id, std::move(request), [&program](Result<worker::Stream> result) { program = std::move(result); });
  ASSERT_TRUE(run_until(loop, [&program] { return program.has_value(); }));
  ASSERT_TRUE(*program);
  init_stays_running = false;  // of those that come after it
  replace_parent();
  EXPECT_TRUE(stays(id));
  init::Record record;
  record.kind = init::RecordKind::exited;
  record.id = (*program)->id;
  inits.back()->send(record);
  EXPECT_TRUE(follows(id));
}

TEST_F(FollowerFixture, WhatIsBusyFollowsWhenItIsQuiet) {
  const auto id = running("/srv/a");
  replace_parent();
  const auto work = [this](int looks) {
    event::Timer tick(loop, "test", [&] {
      usage_now.cpu_nanoseconds += 1'000'000'000;
      if (--looks > 0) {
        tick_->arm(1ms);
      }
    });
    tick_ = &tick;
    tick.arm(1ms);
    EXPECT_TRUE(run_until(loop, [&] { return looks == 0; }));
  };
  work(100);
  EXPECT_EQ(registry->find(id)->restarts, 0U);
  EXPECT_TRUE(follows(id));
}

TEST_F(FollowerFixture, NobodyWaitsForever) {
  times.quiet = 1h;
  times.grace = 30ms;
  make_follower();
  const auto id = running("/srv/a");
  replace_parent();
  EXPECT_TRUE(follows(id));
}

TEST_F(FollowerFixture, APausedWorkerFollowsAfterItWasResumed) {
  const auto id = running("/srv/a");
  ASSERT_TRUE(wait([&](Done<void> done) { registry->pause(id, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(id)->reason == "paused"; }));
  replace_parent();
  EXPECT_TRUE(stays(id));
  in_parent_network = false;  // where it still is when it wakes up
  ASSERT_TRUE(wait([&](Done<void> done) { registry->resume(id, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(id)->reason != "paused"; }));
  follower->on_worker_changed(id);
  EXPECT_TRUE(follows(id));
}

TEST_F(FollowerFixture, NobodyIsTakenDownWhileThereIsNothingToFollow) {
  const auto id = running("/srv/a");
  possible = false;
  replace_parent();
  EXPECT_TRUE(stays(id));
  possible = true;
  follower->look();
  EXPECT_TRUE(follows(id));
}

TEST_F(FollowerFixture, AFailureIsTriedAgainUntilItIsGivenUpOrTheOwnerHasActed) {
  const auto a = running("/srv/a");
  runtime.fail("create", {Errc::unavailable, "the engine has its hands full"});
  replace_parent();
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(a)->restarts == 2; }));
  runtime.heal();
  EXPECT_TRUE(run_until(loop, [&] { return registry->find(a)->state == State::running; }));

  const auto b = running("/srv/b");
  runtime.fail("create", {Errc::not_found, "the engine has no image image"});
  replace_parent();
  ASSERT_TRUE(run_until(loop, [&] {
    const auto* now = registry->find(b);
    return now->restarts == 6 && now->state == State::failed;
  }));
  EXPECT_NE(registry->find(b)->reason.find("no image"), std::string::npos) << registry->find(b)->reason;
  follower->look();
  run_ready(loop);
  EXPECT_EQ(registry->find(b)->restarts, 6U);
}

TEST_F(FollowerFixture, ARestartThatTheDaemonDidNotSurviveIsDoneByTheNextOne) {
  const auto id = running("/srv/a");
  runtime.hold("remove");
  registry->restart(id, [](const Result<void>&) {});
  ASSERT_TRUE(run_until(loop, [&] { return runtime.calls.back() == "remove"; }));
  follower.reset();
  runtime.release("remove");
  restart_daemon();
  make_follower();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  EXPECT_EQ(registry->find(id)->state, State::failed);
  EXPECT_NE(registry->find(id)->reason.find("cut short"), std::string::npos) << registry->find(id)->reason;
  follower->look();
  EXPECT_TRUE(follows(id, 2)) << registry->find(id)->reason;
  EXPECT_TRUE(registry->stranded().empty());
  EXPECT_EQ(runtime.containers.size(), 1U);
}

TEST_F(FollowerFixture, ARestartThatFailedIsNotBegunAgainByTheNextDaemon) {
  const auto id = running("/srv/a");
  runtime.fail("create", {Errc::not_found, "the engine has no image image"});
  ASSERT_FALSE(wait([&](Done<void> done) { registry->restart(id, std::move(done)); }));
  runtime.heal();
  restart_daemon();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  EXPECT_EQ(registry->find(id)->state, State::failed);
  EXPECT_TRUE(registry->stranded().empty());
}

}  // namespace
}  // namespace hal::test
