#include "worker_adoption_support.hpp"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using worker::State;

TEST_F(AdoptionFixture, ASpawn) {
  start();
  trace([this] { begin_spawn(worker::Claim::never); }, [this] { return calm(); });
  check_every_crash([this](const Remains& left) {
    const auto* worker = registry->find(1234, "project-4f3f91f6");
    EXPECT_TRUE(worker != nullptr || !left.answered) << "an answered spawn was lost";
  });
}

TEST_F(AdoptionFixture, AClaimAndTheRefillAfterIt) {
  start();
  trace([this] { begin_spawn(worker::Claim::require); }, [this] { return calm(); });
  check_every_crash([this](const Remains& left) {
    const auto* worker = registry->find(1234, "project-4f3f91f6");
    EXPECT_TRUE(worker != nullptr || !left.answered) << "an answered claim was lost";
  });
}

TEST_F(AdoptionFixture, TheFirstFillingOfThePool) {
  answered = true;
  trace([this] { pool->start(); }, [this] { return calm(); });
  check_every_crash();
}

TEST_F(AdoptionFixture, ARestart) {
  start();
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  until_warm(2);
  trace([&] { call([&](Done<void> done) { registry->restart(*id, std::move(done)); }); }, [this] { return calm(); });
  check_every_crash([&](const Remains& left) {
    const auto* worker = registry->find(*id);
    ASSERT_NE(worker, nullptr);
    if (left.answered) {
      EXPECT_EQ(worker->state, State::running);
    }
    if (worker->state == State::failed) {
      EXPECT_NE(worker->reason.find("restart"), std::string::npos) << worker->reason;
      inits.clear();
      newest.clear();
      ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
      EXPECT_EQ(registry->find(*id)->state, State::running) << "and can be restarted";
      EXPECT_EQ(registry->find(*id)->workspace, "/srv/project");
    }
  });
}

TEST_F(AdoptionFixture, ARestartThatFails) {
  start();
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  until_warm(2);
  binder.open_errors["/srv/project"] = Error{Errc::not_found, "/srv/project: there is no such directory"};
  trace([&] { registry->restart(*id, [this](const Result<void>&) { answered = true; }); }, [this] { return calm(); });
  check_every_crash([&](const Remains& left) {
    if (left.answered) {
      EXPECT_NE(registry->find(*id)->reason.find("no such directory"), std::string::npos);
    }
  });
}

TEST_F(AdoptionFixture, ARemoval) {
  start();
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  until_warm(2);
  trace([&] { call([&](Done<void> done) { registry->remove(*id, std::move(done)); }); }, [this] { return calm(); });
  check_every_crash(
      [&](const Remains& left) { EXPECT_TRUE(registry->find(*id) == nullptr || !left.answered) << "it came back"; });
}

TEST_F(AdoptionFixture, AStop) {
  start();
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  until_warm(2);
  trace([&] { call([&](Done<void> done) { registry->stop(*id, 1s, std::move(done)); }); }, [this] { return calm(); });
  check_every_crash([&](const Remains& left) {
    ASSERT_NE(registry->find(*id), nullptr);
    EXPECT_TRUE(registry->find(*id)->state == State::exited || !left.answered);
  });
}

TEST_F(AdoptionFixture, ADrain) {
  start();
  worker::OperationHandle job;
  trace([&] { call([&](Done<void> done) { job = pool->drain([](double, const std::string&) {}, std::move(done)); }); },
        [this] { return calm(0); });
  ASSERT_NE(remains.front().files.at(settings.state_dir + "/pool.json").find("true"), std::string::npos)
      << "it is kept before anything is removed";
  check_every_crash({}, 0);
}

TEST_F(AdoptionFixture, AReplacementForANewImage) {
  start();
  answered = true;
  const auto old = registry->stock().at(0).generation;
  settings.profiles["base"].limits.pids = 55;  // as good as another image
  trace([this] { pool->look_at_image(); },
        [&] {
          const auto stock = registry->stock();
          return calm() &&
                 std::none_of(stock.begin(), stock.end(), [&](const auto& one) { return one.generation == old; });
        });
  check_every_crash();
  for (const auto& one : registry->stock()) {
    EXPECT_NE(one.generation, old);
  }
}

// --- what else a daemon finds
// --------------------------------------------------------------------------------------------

TEST_F(PoolFixture, AContainerThatAppearsLateIsNobodysAndRemoved) {
  start();
  const auto id = spawn("/srv/project", [](auto& request) { request.claim = worker::Claim::never; });
  ASSERT_TRUE(id);
  restart_all();
  worker::ContainerSpec late;  // the engine was still busy with it when the daemon that had asked for it ended
  late.labels = {{"org.hal9000.role", "worker"}, {"org.hal9000.id", "ffffffffffff"}};
  std::optional<ContainerId> made;
  runtime.create(late, [&](const Result<ContainerId>& result) { made = *result; });
  ASSERT_TRUE(run_until(loop, [&] { return made.has_value(); }));
  const auto tell = [&](worker::ContainerEvent::Kind kind, const ContainerId& container) {
    registry->on_container_event({kind, container, runtime.containers.at(container).labels, 0});
  };
  tell(worker::ContainerEvent::Kind::created, registry->find(*id)->container);  // its own is left alone
  tell(worker::ContainerEvent::Kind::created, *made);
  ASSERT_TRUE(run_until(loop, [&] { return !runtime.containers.contains(*made); }));
  EXPECT_EQ(registry->find(*id)->state, State::running);
  EXPECT_EQ(runtime.containers.size(), 3U);
}

TEST_F(PoolFixture, BeforeThereIsAListNothingIsTakenForAStray) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  const auto container = registry->find(*id)->container;
  restart_daemon();
  registry->on_container_event(
      {worker::ContainerEvent::Kind::started, container, runtime.containers.at(container).labels, 0});
  run_ready(loop);
  EXPECT_TRUE(runtime.containers.contains(container));
}

TEST_F(RegistryFixture, WhatARestartCouldNotTidyUpIsRemovedWhenTheEngineIsBack) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  runtime.hold("start");
  std::optional<Result<void>> restarted;
  registry->restart(*id, [&](Result<void> result) { restarted = std::move(result); });
  ASSERT_TRUE(run_until(loop, [&] { return runtime.calls.back() == "start"; }));
  runtime.fail("start", {Errc::unavailable, "the engine is gone"});
  runtime.fail("remove", {Errc::unavailable, "the engine is gone"});
  binder.place_result = Error{Errc::internal, "no"};
  runtime.release("start");
  ASSERT_TRUE(run_until(loop, [&] { return restarted.has_value(); }));
  EXPECT_EQ(registry->find(*id)->state, State::failed);
  ASSERT_EQ(runtime.containers.size(), 1U) << "the engine was not there to remove it";
  runtime.heal();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return runtime.containers.empty(); }));
  EXPECT_EQ(registry->find(*id)->state, State::failed) << "and it is still there to be restarted";
}

TEST_F(RegistryFixture, WithoutAParentARestartKeepsWhatRuns) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  const auto container = registry->find(*id)->container;
  parent = {};
  const auto result = wait([&](Done<void> done) { registry->restart(*id, std::move(done)); });
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("parent"), std::string::npos) << result.error().message;
  EXPECT_EQ(registry->find(*id)->state, State::running);
  EXPECT_TRUE(runtime.containers.contains(container));
}

TEST_F(RegistryFixture, ARemovalThatFailsIsNotForgotten) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  runtime.fail("remove", {Errc::internal, "device busy"});
  ASSERT_FALSE(wait([&](Done<void> done) { registry->remove(*id, std::move(done)); }));
  restart_daemon();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  ASSERT_NE(registry->find(*id), nullptr);
  EXPECT_EQ(registry->find(*id)->state, State::running);
}

/** The engine's containers have all ended, and what was in /run is gone. */
TEST_F(PoolFixture, AfterARebootWorkersHaveEndedAndCanBeRestartedAndThePoolIsFresh) {
  start();
  const auto id = claim("/srv/project", [](auto& request) { request.command = {"run"}; });
  ASSERT_TRUE(id);
  until_warm(2);
  const auto before = warm_ids();
  pool.reset();
  registry.reset();
  runtime.set_listener(nullptr);
  inits.clear();
  for (auto& [container, info] : runtime.containers) {
    info.status = worker::ContainerStatus::exited;
    info.exit_code = 255;
    info.pid = 0;
  }
  std::filesystem::remove_all(settings.run_dir);
  std::filesystem::create_directories(settings.run_dir + "/worker");
  restart_all();
  const auto* worker = registry->find(*id);
  ASSERT_NE(worker, nullptr);
  EXPECT_EQ(worker->state, State::exited);
  EXPECT_NE(worker->reason.find("255"), std::string::npos) << worker->reason;
  EXPECT_FALSE(folder_exists(*id));
  start();
  for (const auto& one : warm_ids()) {
    EXPECT_EQ(std::count(before.begin(), before.end(), one), 0);
  }
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
  EXPECT_EQ(registry->find(*id)->state, State::running);
  EXPECT_EQ(registry->find(*id)->workspace, "/srv/project");
  EXPECT_EQ(inits.back()->requests.back().argv, std::vector<std::string>{"run"});
  EXPECT_EQ(runtime.containers.size(), 3U);
}

}  // namespace
}  // namespace hal::test
