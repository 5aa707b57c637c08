#include "worker_pool_support.hpp"

#include <fstream>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using worker::Claim;
using worker::Pressure;
using worker::State;

// --- drain, scale, warm, cleanup ------------------------------------------------------------------------------------

TEST_F(PoolFixture, ADrainEmptiesThePoolAndOutlivesTheDaemon) {
  start();
  const auto claimed = claim("/srv/kept");
  ASSERT_TRUE(claimed);
  std::optional<Result<void>> drained;
  const auto job = pool->drain([](double, const std::string&) {}, [&](Result<void> result) { drained = result; });
  EXPECT_FALSE(drained) << "answered from inside the call";
  ASSERT_TRUE(run_until(loop, [&] { return drained.has_value(); }));
  EXPECT_TRUE(*drained);
  EXPECT_EQ(pool->status().warm, 0U);
  EXPECT_EQ(registry->find(*claimed)->state, State::running);
  const auto refused = claim("/srv/project");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_NE(refused.error().message.find("drained"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(spawn("/srv/project")) << "a spawn that only prefers one is made cold";

  restart_all();
  pool->start();
  run_ready(loop);
  EXPECT_TRUE(pool->status().drained);
  EXPECT_EQ(pool->status().starting + pool->status().warm, 0U);
  ASSERT_TRUE(pool->configure({.min = 1, .max = 2, .idle_timeout = {}}));
  until_warm(1);
  EXPECT_FALSE(pool->status().drained);
}

TEST_F(PoolFixture, WarmWaitsUntilSoManyAre) {
  start();
  std::vector<std::string> told;
  std::optional<Result<void>> done;
  const auto job = pool->warm(
      4, [&](double, const std::string& message) { told.push_back(message); },
      [&](Result<void> result) { done = result; });
  ASSERT_TRUE(run_until(loop, [&] { return done.has_value(); }));
  EXPECT_TRUE(*done);
  EXPECT_EQ(pool->status().warm, 4U);
  EXPECT_FALSE(told.empty());
  for (const std::uint32_t wrong : {0U, 6U}) {
    std::optional<Result<void>> refused;
    const auto none = pool->warm(wrong, {}, [&](Result<void> result) { refused = result; });
    ASSERT_TRUE(run_until(loop, [&] { return refused.has_value(); }));
    ASSERT_FALSE(*refused);
    EXPECT_EQ(refused->error().code, Errc::invalid_argument);
  }
}

TEST_F(PoolFixture, CleanupRemovesWhatIsTooMuch) {
  start();
  std::optional<Result<void>> done;
  const auto job = pool->warm(
      5, [](double, const std::string&) {}, [&](Result<void> result) { done = result; });
  ASSERT_TRUE(run_until(loop, [&] { return done.has_value(); }));
  std::optional<Result<std::uint32_t>> removed;
  pool->cleanup([&](Result<std::uint32_t> result) { removed = result; });
  ASSERT_TRUE(run_until(loop, [&] { return removed.has_value(); }));
  ASSERT_TRUE(*removed);
  EXPECT_EQ(**removed, 3U);
  EXPECT_EQ(pool->status().warm, 2U);
}

TEST_F(PoolFixture, SurplusGoesAfterTheIdleTimeout) {
  settings.pool.idle_timeout = 20ms;
  start();
  std::optional<Result<void>> done;
  const auto job = pool->warm(
      5, [](double, const std::string&) {}, [&](Result<void> result) { done = result; });
  ASSERT_TRUE(run_until(loop, [&] { return done.has_value(); }));
  until_warm(2);
}

TEST_F(PoolFixture, SettingsOutliveTheDaemonAndBadOnesChangeNothing) {
  start();
  ASSERT_TRUE(pool->configure({.min = 1, .max = 3, .idle_timeout = 7s}));
  for (const auto& [change, code] :
       {std::pair(worker::Pool::Change{.min = 4, .max = {}, .idle_timeout = {}}, Errc::invalid_argument),
        std::pair(worker::Pool::Change{.min = {}, .max = 65, .idle_timeout = {}}, Errc::limit),
        std::pair(worker::Pool::Change{.min = {}, .max = {}, .idle_timeout = 24h * 366}, Errc::invalid_argument)}) {
    const auto refused = pool->configure(change);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, code) << refused.error().message;
  }
  restart_all();
  EXPECT_EQ(pool->status().min, 1U);
  EXPECT_EQ(pool->status().max, 3U);
  EXPECT_EQ(pool->status().idle_timeout, 7s);
  std::ofstream(settings.state_dir + "/pool.json") << "{broken";
  restart_all();
  EXPECT_EQ(pool->status().max, 5U) << "as the configuration says";
}

// --- what goes wrong ------------------------------------------------------------------------------------------------

TEST_F(PoolFixture, TheCircuitOpensStaysBoundedAndClosesByItself) {
  runtime.fail("start", {Errc::internal, "no cgroup"});
  pool->start();
  ASSERT_TRUE(run_until(
      loop, [&] { return pool->status().degraded; }, 20s));
  EXPECT_NE(pool->status().reason.find("no cgroup"), std::string::npos) << pool->status().reason;
  EXPECT_EQ(pool->status().warm, 0U);
  EXPECT_LE(count("create"), 4U) << "it did not wait between its attempts";
  EXPECT_TRUE(runtime.containers.empty());
  const auto refused = claim("/srv/project");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("no cgroup"), std::string::npos) << refused.error().message;
  runtime.heal();
  ASSERT_TRUE(run_until(
      loop, [&] { return pool->status().warm == 2; }, 20s));
  EXPECT_FALSE(pool->status().degraded);
  EXPECT_EQ(pool->status().reason, "");
}

TEST_F(PoolFixture, APoolWhoseImageIsDeletedSaysSoAndIsWellWhenItIsBack) {
  start();
  runtime.fail("inspect_image", {Errc::not_found, "image hal9000/worker-minimal: No such image"});
  pool->look_at_image();
  ASSERT_TRUE(run_until(
      loop, [&] { return pool->status().degraded; }, 20s));
  EXPECT_NE(pool->status().reason.find("No such image"), std::string::npos) << pool->status().reason;
  EXPECT_EQ(pool->status().warm, 2U) << "what is there can be claimed";
  runtime.heal();
  pool->look_at_image();  // the engine has told of a new image
  ASSERT_TRUE(run_until(loop, [&] { return !pool->status().degraded; }));
  EXPECT_EQ(pool->status().reason, "");
  EXPECT_EQ(count("create"), 2U) << "nothing had to be made for that";
}

TEST_F(PoolFixture, AContainerWhoseTmuxDoesNotStartIsNotWarm) {
  init_prepare_error = ENOENT;
  pool->start();
  ASSERT_TRUE(run_until(loop, [&] { return pool->status().reason.find("tmux") != std::string::npos; }));
  EXPECT_EQ(pool->status().warm, 0U);
}

TEST_F(PoolFixture, WithoutTheEngineClaimsGoOnAndNothingIsMadeOrRemoved) {
  start();
  runtime.go_down();
  pool->look();
  const auto id = claim("/srv/project");
  ASSERT_TRUE(id) << id.error().message;
  run_ready(loop);
  EXPECT_EQ(pool->status().warm, 1U);
  EXPECT_EQ(pool->status().reason, "the engine is away");
  EXPECT_TRUE(claim("/srv/other"));
  const auto none = claim("/srv/third");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("the engine is away"), std::string::npos);
  runtime.come_up();
  pool->look_at_image();
  until_warm(2);
  EXPECT_FALSE(pool->status().degraded);
}

TEST_F(PoolFixture, ADeadWarmWorkerIsReplacedAndNeverClaimed) {
  start();
  const auto dead = warm_ids().at(0);
  runtime.die(registry->find(dead)->container, 137);
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(dead) == nullptr; }));
  until_warm(2);
  const auto lost = warm_ids().at(0);
  runtime.vanish(registry->find(lost)->container);
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(lost) == nullptr; }));
  until_warm(2);
  EXPECT_EQ(runtime.containers.size(), 2U);
}

TEST_F(PoolFixture, WorkersOfAReplacedParentAreReplaced) {
  start();
  const auto before = warm_ids();
  in_parent_network = false;
  const auto refused = claim("/srv/project");
  ASSERT_FALSE(refused) << "it would have had no network";
  pool->look();
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(before[0]) == nullptr; }));
  in_parent_network = true;
  until_warm(2);
}

TEST_F(PoolFixture, PressureStopsRefillsAndThenGivesBackOneASign) {
  start();
  pool->on_pressure(Pressure::some);
  ASSERT_TRUE(claim("/srv/project"));
  run_ready(loop);
  EXPECT_EQ(pool->status().warm, 1U);
  EXPECT_EQ(pool->status().starting, 0U);
  EXPECT_EQ(pool->status().pressure, "some");
  EXPECT_NE(pool->status().reason.find("memory"), std::string::npos);
  pool->on_pressure(Pressure::full);
  ASSERT_TRUE(run_until(loop, [&] { return pool->status().warm == 0; }));
  pool->on_pressure(Pressure::none);
  until_warm(2);
}

TEST_F(PoolFixture, AnEngineThatCannotRemoveIsNotAskedWithoutEnd) {
  start();
  runtime.fail("remove", {Errc::internal, "busy"});
  std::optional<Result<void>> drained;
  const auto job = pool->drain([](double, const std::string&) {}, [&](Result<void> result) { drained = result; });
  run_ready(loop);
  EXPECT_LE(count("remove"), 4U);
  EXPECT_FALSE(drained);
  EXPECT_EQ(pool->status().warm, 2U);
}

// --- rolling, adoption ----------------------------------------------------------------------------------------------

TEST_F(PoolFixture, ANewConfigurationReplacesThemWithoutEverHavingFewer) {
  start();
  const auto claimed = claim("/srv/kept");
  ASSERT_TRUE(claimed);
  until_warm(2);
  const auto before = warm_ids();
  settings.profiles["base"].limits.pids = 222;
  pool->look_at_image();
  std::uint32_t least = 2;
  ASSERT_TRUE(run_until(loop, [&] {
    least = std::min(least, pool->status().warm);
    return registry->find(before[0]) == nullptr && registry->find(before[1]) == nullptr && pool->status().warm == 2;
  }));
  EXPECT_EQ(least, 2U);
  for (const auto& id : warm_ids()) {
    EXPECT_EQ(runtime.specs.at(registry->find(id)->container).pids, 222U);
  }
  EXPECT_EQ(registry->find(*claimed)->state, State::running);
  EXPECT_EQ(runtime.specs.at(registry->find(*claimed)->container).pids, 100U);
}

TEST_F(PoolFixture, ARestartedDaemonTakesUpWarmWorkers) {
  start();
  const auto claimed = claim("/srv/project");
  ASSERT_TRUE(claimed);
  until_warm(2);
  const auto warm = warm_ids();
  pool.reset();
  registry.reset();  // inits lose their connection
  inits.clear();
  restart_daemon();
  make_pool();
  const auto made = count("create");
  std::optional<Result<void>> reconciled;
  registry->reconcile([&](Result<void> result) { reconciled = result; });
  ASSERT_TRUE(run_until(loop, [&] { return reconciled.has_value(); }));
  EXPECT_EQ(pool->status().warm, 0U) << "not before their inits have answered";
  for (const auto& id : warm) {
    inits.push_back(std::make_unique<FakeInit>(loop, settings.run_dir + "/worker/" + id.value + "/control.sock"));
  }
  pool->start();
  until_warm(2);
  EXPECT_EQ(count("create"), made) << "new ones were made";
  EXPECT_EQ(warm_ids(), warm);
  EXPECT_EQ(registry->find(*claimed)->state, State::running);
  EXPECT_TRUE(claim("/srv/other"));
}

TEST_F(PoolFixture, WhatAClaimHadTouchedAtACrashIsRemoved) {
  start();
  const auto taken = warm_ids().at(0);
  const auto container = registry->find(taken)->container;
  std::optional<Result<WorkerId>> answer;
  worker::SpawnRequest request;
  request.owner = 1234;
  request.workspace = "/srv/project";
  request.claim = Claim::require;
  registry->spawn(std::move(request), [&answer](Result<WorkerId> result) { answer = std::move(result); });
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(taken)->state == State::creating; }));
  restart_all();
  run_ready(loop);
  EXPECT_EQ(registry->find(taken), nullptr);
  EXPECT_FALSE(runtime.containers.contains(container));
  EXPECT_FALSE(folder_exists(taken));
}

TEST_F(PoolFixture, AWarmWorkerThatRunsACommandAlreadyIsNotTakenUp) {
  start();
  const auto id = warm_ids().at(0);
  const auto container = registry->find(id)->container;
  pool.reset();
  registry.reset();
  inits.clear();
  restart_daemon();
  make_pool();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  FakeInit init(loop, settings.run_dir + "/worker/" + id.value + "/control.sock", true);
  ASSERT_TRUE(run_until(loop, [&] { return !runtime.containers.contains(container); }));
  EXPECT_EQ(registry->find(id), nullptr);
}

/** Root may remove a warm worker as any other; nobody can use one. */
TEST_F(PoolFixture, WarmWorkersAreBusyForAllElse) {
  start();
  const auto id = warm_ids().at(0);
  for (const auto& call : std::vector<std::function<void(Done<void>)>>{
           [&](Done<void> done) { registry->restart(id, std::move(done)); },
           [&](Done<void> done) { registry->stop(id, 1s, std::move(done)); },
           [&](Done<void> done) { registry->pause(id, std::move(done)); },
           [&](Done<void> done) { registry->send(id, "x", std::move(done)); }}) {
    const auto result = wait(call);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::busy);
    EXPECT_NE(result.error().message.find("warm"), std::string::npos) << result.error().message;
  }
  ASSERT_TRUE(wait([&](Done<void> done) { registry->remove(id, std::move(done)); }));
  until_warm(2);
}

}  // namespace
}  // namespace hal::test
