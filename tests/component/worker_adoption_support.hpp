#pragma once

#include "worker/record.hpp"
#include "worker_pool_support.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hal::test {
/** What kill -9 of the daemon at one moment leaves to the next one. */
struct Remains {
  std::map<std::string, std::string> files;
  std::set<std::string> folders;
  std::map<ContainerId, worker::ContainerInfo> containers;
  std::map<ContainerId, worker::ContainerSpec> specs;
  /** Containers whose init has started somebody's command. */
  std::set<ContainerId> started;
  bool answered = false;
};

/** Notes what would remain at every change of a worker's state, too. */
class StepRecorder : public RegistryRecorder {
 public:
  explicit StepRecorder(const std::function<void()>& step) : step_(step) {}
  void on_worker_added(const worker::Worker& worker) override { step_(), RegistryRecorder::on_worker_added(worker); }
  void on_worker_changed(const worker::Worker& worker) override {
    step_(), RegistryRecorder::on_worker_changed(worker);
  }
  void on_worker_removed(const WorkerId& id) override { step_(), RegistryRecorder::on_worker_removed(id); }
  void on_worker_claimed(const worker::Worker& worker) override {
    step_(), RegistryRecorder::on_worker_claimed(worker);
  }

 private:
  const std::function<void()>& step_;
};

/**
 * A crash at every step of a change. The change runs once to its end, while what a crash would leave is noted before
 * and after each call of the engine, at each change of a state and in each turn of the loop. Then, for each of these, a
 * new registry and a new pool take up what was left.
 */
struct AdoptionFixture : public PoolFixture {
  AdoptionFixture() {
    runtime.on_step = [this] { note(); };
    steps.sockets.clear();
    registry->set_listener(&steps);
    const auto make_init = runtime.on_start;
    runtime.on_start = [this, make_init](const worker::ContainerSpec& spec) {
      const auto pid = make_init(spec);
      newest[spec.binds.at(0).source] = inits.size() - 1;
      return pid;
    };
  }

  /** The last container started for a worker is the one whose init is the last at its socket. */
  [[nodiscard]] bool command_runs(const worker::ContainerSpec& spec) const {
    const auto init = newest.find(spec.binds.at(0).source);
    return init != newest.end() &&
           std::any_of(inits.at(init->second)->requests.begin(), inits.at(init->second)->requests.end(),
                       [](const auto& request) { return request.kind == init::RequestKind::main; });
  }

  void note() {
    if (!noting) {
      return;
    }
    Remains now;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
      if (entry.is_directory()) {
        now.folders.insert(entry.path());
      } else if (entry.is_regular_file()) {
        now.files[entry.path()] = read_file(entry.path());
      }
    }
    now.containers = runtime.containers;
    now.specs = runtime.specs;
    for (const auto& [id, info] : runtime.containers) {
      if (info.status == worker::ContainerStatus::running && command_runs(runtime.specs.at(id))) {
        now.started.insert(id);
      }
    }
    now.answered = answered;
    remains.push_back(std::move(now));
  }

  /** Runs `change` until `settled`, noting each step. */
  void trace(const std::function<void()>& change, const std::function<bool()>& settled) {
    noting = true;
    change();
    ASSERT_TRUE(run_until(loop, [&] {
      note();
      return settled();
    }));
    noting = false;
    ASSERT_GT(remains.size(), 3U);
  }

  /** The world as it was left, and a new daemon in it. */
  void take_up(const Remains& left) {
    pool.reset();
    registry.reset();
    recorder.sockets.clear();
    inits.clear();
    newest.clear();
    for (const auto& folder : {settings.run_dir, settings.state_dir}) {
      std::filesystem::remove_all(folder);
    }
    for (const auto& folder : left.folders) {  // sorted: parents first
      std::filesystem::create_directory(folder);
    }
    for (const auto& [path, text] : left.files) {
      std::ofstream(path) << text;
    }
    runtime.containers = left.containers;
    runtime.specs = left.specs;
    restart_daemon();
    make_pool();
    std::optional<Result<void>> reconciled;
    registry->reconcile([&](Result<void> result) { reconciled = std::move(result); });
    ASSERT_TRUE(run_until(loop, [&] {
      connect_inits(left);
      return reconciled.has_value() && registry->starting() == 0;
    }));
    ASSERT_TRUE(*reconciled) << reconciled->error().message;
    run_ready(loop);
  }

  /** As hal9000-init does when its socket is replaced. */
  void connect_inits(const Remains& left) {
    for (const auto& [id, info] : runtime.containers) {
      const auto& folder = runtime.specs.at(id).binds.at(0).source;
      if (info.status == worker::ContainerStatus::running && left.containers.contains(id) && !newest.contains(folder) &&
          ::access((folder + "/control.sock").c_str(), F_OK) == 0) {
        newest[folder] = inits.size();
        inits.push_back(std::make_unique<FakeInit>(loop, folder + "/control.sock", left.started.contains(id)));
      }
    }
  }

  /** What holds after every crash. */
  void check(const Remains& left) {
    std::set<ContainerId> known;
    std::set<std::string> ids;
    std::set<std::string> alive;
    for (const auto* worker : registry->all()) {
      SCOPED_TRACE(fmt::format("worker {} {}: {}", worker->id.value, name(worker->state), worker->reason));
      ids.insert(worker->id.value);
      if (!worker->container.value.empty()) {
        known.insert(worker->container);
        ASSERT_TRUE(runtime.containers.contains(worker->container));
      }
      switch (worker->state) {
        case worker::State::warm:
          EXPECT_FALSE(left.started.contains(worker->container)) << "somebody's command runs in a warm worker";
          EXPECT_EQ(worker->workspace, "");
          break;
        case worker::State::running:
          EXPECT_TRUE(left.started.contains(worker->container)) << "its command was never started";
          EXPECT_EQ(worker->owner, 1234U);
          break;
        case worker::State::exited:
        case worker::State::failed:
          EXPECT_NE(worker->reason, "");
          EXPECT_EQ(worker->reason.find("outside"), std::string::npos) << "nobody else did anything";
          break;
        default:
          ADD_FAILURE() << "nothing will ever change that";
      }
      if (worker->state == worker::State::warm || worker->state == worker::State::running) {
        alive.insert(worker->id.value);
        EXPECT_EQ(runtime.containers.at(worker->container).status, worker::ContainerStatus::running);
      }
    }
    for (const auto& [id, info] : runtime.containers) {
      EXPECT_TRUE(known.contains(id)) << id.value << " is nobody's";
    }
    std::set<std::string> records;
    for (const auto& entry : std::filesystem::directory_iterator(settings.state_dir + "/worker")) {
      records.insert(entry.path().filename());
    }
    std::set<std::string> expected;
    for (const auto& id : ids) {
      expected.insert(id + ".json");
    }
    EXPECT_EQ(records, expected);
    std::set<std::string> folders;
    for (const auto& entry : std::filesystem::directory_iterator(settings.run_dir + "/worker")) {
      folders.insert(entry.path().filename());
    }
    EXPECT_EQ(folders, alive);
  }

  /** Of all that was removed, and of all that has ended meanwhile, the log tells. */
  void check_told(const Remains& left, const std::string& log) {
    for (const auto& [id, info] : left.containers) {
      if (!runtime.containers.contains(id)) {
        const auto& worker = info.labels.at("org.hal9000.id");
        EXPECT_TRUE(log.find(id.value) != std::string::npos || log.find(worker) != std::string::npos)
            << id.value << " was removed without a word; the log:\n"
            << log;
      }
    }
  }

  /** Warm workers that were whole are not made again. */
  void check_reused(const Remains& left) {
    std::set<ContainerId> whole;
    for (const auto& [path, text] : left.files) {
      const auto record = path.ends_with(".json") ? worker::worker_from_json(text) : Result<worker::Worker>(Error{});
      if (record && record->state == worker::State::warm && left.containers.contains(record->container)) {
        whole.insert(record->container);
      }
    }
    std::set<ContainerId> reused;
    for (const auto& id : warm_ids()) {
      reused.insert(registry->find(id)->container);
    }
    EXPECT_EQ(reused, whole);
  }

  /** For each moment: the invariants, what `extra` adds, and that the pool then gets what it should have. */
  void check_every_crash(const std::function<void(const Remains&)>& extra = {}, std::uint32_t warm = 2) {
    for (std::size_t n = 0; n < remains.size(); ++n) {
      SCOPED_TRACE(fmt::format("a crash at step {} of {}{}", n + 1, remains.size(),
                               remains[n].answered ? ", after the answer" : ""));
      ::testing::internal::CaptureStderr();
      take_up(remains[n]);
      const auto log = ::testing::internal::GetCapturedStderr();
      check(remains[n]);
      check_told(remains[n], log);
      check_reused(remains[n]);
      if (extra) {
        extra(remains[n]);
      }
      ::testing::internal::CaptureStderr();
      start(warm);
      (void)::testing::internal::GetCapturedStderr();
      if (HasFailure()) {
        break;  // one moment tells enough
      }
    }
  }

  void call(const std::function<void(Done<void>)>& begin) {
    begin([this](const Result<void>& result) {
      EXPECT_TRUE(result) << result.error().message;
      answered = true;
    });
  }
  void begin_spawn(worker::Claim claim) {
    worker::SpawnRequest request;
    request.owner = 1234;
    request.workspace = "/srv/project";
    request.claim = claim;
    registry->spawn(std::move(request), [this](const Result<WorkerId>& id) {
      EXPECT_TRUE(id) << id.error().message;
      answered = true;
    });
  }
  [[nodiscard]] bool calm(std::uint32_t warm = 2) const {
    const auto now = pool->status();
    return answered && now.warm == warm && now.starting == 0;
  }

  std::function<void()> step = [this] { note(); };
  StepRecorder steps{step};
  std::map<std::string, std::size_t> newest;
  std::vector<Remains> remains;
  bool noting = false;
  bool answered = false;
};

}  // namespace hal::test
