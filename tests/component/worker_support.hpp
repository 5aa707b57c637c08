#pragma once

#include "fakes/fake_runtime.hpp"
#include "init/protocol.hpp"
#include "io/listener.hpp"
#include "io/message_channel.hpp"
#include "support/component.hpp"
#include "worker/binder.hpp"
#include "worker/live_registry.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace hal::test {

/** Answers as told; notes what was asked. Mounts are the business of the host tests. */
class FakeBinder : public worker::Binder {
 public:
  explicit FakeBinder(event::Loop& loop) : loop_(loop) {}

  void open(std::vector<OpenRequest> requests, Done<std::vector<worker::DetachedMount>> done) override {
    std::optional<Error> error;
    for (const auto& request : requests) {
      opened.push_back(request.path);
      const auto failure = open_errors.find(request.path);
      if (!error && failure != open_errors.end() && failure->second) {
        error = failure->second->with(request.what);
      }
    }
    event::post(loop_, "fake binder", [requests, mapped = mapped, error, done = std::move(done)] {
      if (error) {
        return done(*error);
      }
      std::vector<worker::DetachedMount> mounts;
      for (const auto& request : requests) {
        worker::DetachedMount mount;
        mount.real_path = request.path.empty() ? "/by/descriptor" : request.path;
        mount.mapped = mapped;
        mount.group = 77;
        mounts.push_back(std::move(mount));
      }
      done(std::move(mounts));
    });
  }
  void place(pid_t container_pid, std::vector<Placement> placements, Done<void> done) override {
    for (const auto& placement : placements) {
      placed.emplace_back(container_pid, placement.target);
    }
    event::post(loop_, "fake binder", [done = std::move(done), result = place_result] { done(result); });
  }

  bool mapped = true;
  std::map<std::string, std::optional<Error>> open_errors;
  Result<void> place_result;
  std::vector<std::string> opened;
  std::vector<std::pair<pid_t, std::string>> placed;

 private:
  event::Loop& loop_;
};

/** PID 1 of a fake container: connects as hal9000-init does and answers every request. */
class FakeInit {
 public:
  /** `main_started`: as if a command had been started over an earlier connection. */
  FakeInit(event::Loop& loop, const std::string& socket, bool main_started = false)
      : channel_(loop, *io::connect_unix(socket, SOCK_SEQPACKET), "fake init",
                 {[this](io::Message message) { on_request(std::move(message)); },
                  [this](const Error&) { closed = true; }}) {
    init::Record hello;
    hello.kind = init::RecordKind::hello;
    if (main_started) {
      hello.flags = init::record_main_started;
      hello.id = ExecId{1};
    }
    send(hello);
  }

  void send(const init::Record& record) { (void)channel_.send(init::encode(record)); }

  /** errno for the next start of this program, by argv[0]. */
  std::map<std::string, int> failures;
  std::map<std::string, int> exit_codes;
  int prepare_error = 0;
  /** Without those that only prepare. */
  std::vector<init::Request> requests;
  std::vector<init::Request> signals;
  /** Programs run on instead of ending at once; the merge of the configuration ends all the same. */
  bool stays_running = false;
  /** Answers nothing. */
  bool mute = false;
  /** Answers pings only. */
  bool starts_nothing = false;
  int pings = 0;
  /** Requests so far, while it was mute. */
  std::size_t unanswered = 0;
  bool closed = false;

  /** Goes on, as after SIGCONT, with the last request. */
  void answer_late() {
    mute = false;
    answer(last_unanswered_);
  }

 private:
  void on_request(io::Message message) {
    const auto request = *init::decode_request(message.bytes);
    init::Record record;
    record.id = request.id;
    if (request.kind == init::RequestKind::ping && !mute) {
      ++pings;
      record.kind = init::RecordKind::pong;
      return send(record);
    }
    if (request.kind == init::RequestKind::signal && !mute) {
      return signals.push_back(request);
    }
    if (mute || starts_nothing) {
      ++unanswered;
      last_unanswered_ = request;
      return;
    }
    answer(request);
  }

  void answer(const init::Request& request) {
    init::Record record;
    record.id = request.id;
    if (request.kind == init::RequestKind::prepare) {
      record.kind = prepare_error == 0 ? init::RecordKind::prepared : init::RecordKind::failed;
      record.error = prepare_error;
      return send(record);
    }
    requests.push_back(request);
    if (const auto failure = failures.find(request.argv.at(0)); failure != failures.end()) {
      record.kind = init::RecordKind::failed;
      record.error = failure->second;
      return send(record);
    }
    record.kind = init::RecordKind::started;
    send(record);
    if (request.kind == init::RequestKind::exec && (!stays_running || request.argv.back() == "configure")) {
      record.kind = init::RecordKind::exited;
      record.status = exit_codes[request.argv[0]] << 8;
      send(record);
    }
  }

  init::Request last_unanswered_;
  io::MessageChannel channel_;
};

/** Notes what the registry tells. */
class RegistryRecorder : public worker::Registry::Listener {
 public:
  void on_worker_added(const worker::Worker& worker) override { events.push_back("added " + worker.id.value); }
  void on_worker_changed(const worker::Worker& worker) override {
    events.push_back("changed " + std::string(name(worker.state)));
  }
  void on_worker_removed(const WorkerId& id) override { events.push_back("removed " + id.value); }
  void on_limit_hit(const WorkerId&, std::string_view what) override { events.push_back("limit " + std::string(what)); }
  void on_gateway_socket(const worker::Worker&, UniqueFd listening) override {
    sockets.push_back(std::move(listening));
  }
  void on_own_network(const worker::Worker& worker, Done<void> made) override {
    networks.push_back(worker.pid);
    if (hold_networks) {
      network_made = std::move(made);
    } else {
      made({});
    }
  }
  void on_worker_claimed(const worker::Worker& worker) override { claimed.push_back(worker); }

  std::vector<std::string> events;
  std::vector<UniqueFd> sockets;
  std::vector<worker::Worker> claimed;
  /** Of the isolated workers that were made. With hold_networks the test answers. */
  std::vector<pid_t> networks;
  bool hold_networks = false;
  Done<void> network_made;
};

/** A registry over fakes, with everything it writes in a temporary folder. */
struct RegistryFixture : public ::testing::Test {
  RegistryFixture() {
    settings.run_dir = dir / "run";
    settings.state_dir = dir / "state";
    for (const auto& folder : {settings.run_dir, settings.run_dir + "/worker", settings.state_dir,
                               settings.state_dir + "/worker", settings.state_dir + "/user"}) {
      ::mkdir(folder.c_str(), 0700);
    }
    settings.profiles["base"] = {"image", {"claude"}, {}, {}};
    runtime.on_start = [this](const worker::ContainerSpec& spec) {
      if (connect_init) {
        inits.push_back(std::make_unique<FakeInit>(loop, spec.binds.at(0).source + "/control.sock"));
        inits.back()->prepare_error = init_prepare_error;
        inits.back()->failures = init_failures;
        inits.back()->exit_codes = init_exit_codes;
        inits.back()->stays_running = init_stays_running;
      }
      return ::getpid();  // whose connection the registry will accept
    };
    restart_daemon();
  }

  /** A new registry over the same engine and folders, as after a crash of the daemon. */
  void restart_daemon() {
    registry.reset();
    registry = std::make_unique<worker::LiveRegistry>(worker::LiveRegistry::Parts{
        loop, runtime, binder, settings, [this] { return parent; },
        [] { return std::vector<std::string>{"memory-bank"}; }, [this](pid_t) { return usage_now; },
        [this](pid_t) { return in_parent_network; }, [this](pid_t) { return terminal_activity; }});
    registry->set_listener(&recorder);
    forwarder.registry = registry.get();
    runtime.set_listener(&forwarder);
  }

  Result<WorkerId> spawn(const std::string& path, const std::function<void(worker::SpawnRequest&)>& edit = {}) {
    worker::SpawnRequest request;
    request.owner = 1234;
    request.workspace = path;
    if (edit) {
      edit(request);
    }
    std::optional<Result<WorkerId>> answer;
    registry->spawn(std::move(request), [&answer](Result<WorkerId> result) { answer = std::move(result); });
    EXPECT_FALSE(answer) << "answered from inside the call";
    EXPECT_TRUE(run_until(
        loop, [&answer] { return answer.has_value(); }, 30s));
    return answer.value_or(Error{Errc::timed_out, "no answer"});
  }

  Result<void> wait(const std::function<void(Done<void>)>& call) {
    std::optional<Result<void>> answer;
    call([&answer](Result<void> result) { answer = std::move(result); });
    EXPECT_TRUE(run_until(loop, [&answer] { return answer.has_value(); }));
    return answer.value_or(Error{Errc::timed_out, "no answer"});
  }

  [[nodiscard]] bool folder_exists(const WorkerId& id) const {
    return ::access((settings.run_dir + "/worker/" + id.value).c_str(), F_OK) == 0;
  }

  struct Forwarder : worker::Runtime::Listener {
    void on_engine_up(const worker::EngineInfo&) override {}
    void on_engine_down(const Error&) override {}
    void on_container_event(const worker::ContainerEvent& event) override { registry->on_container_event(event); }
    worker::LiveRegistry* registry = nullptr;
  };

  TempDir dir;
  event::Loop loop;
  FakeRuntime runtime{loop};
  FakeBinder binder{loop};
  worker::Settings settings;
  ContainerId parent{"holder"};
  RegistryRecorder recorder;
  Forwarder forwarder;
  bool in_parent_network = true;
  worker::ContainerUsage usage_now;
  std::uint64_t terminal_activity = 0;
  bool connect_init = true;
  int init_prepare_error = 0;
  std::map<std::string, int> init_failures;
  std::map<std::string, int> init_exit_codes;
  bool init_stays_running = false;
  std::vector<std::unique_ptr<FakeInit>> inits;
  std::unique_ptr<worker::LiveRegistry> registry;
};

}  // namespace hal::test
