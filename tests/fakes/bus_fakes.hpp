#pragma once

#include "bus/backend.hpp"
#include "event/sources.hpp"
#include "worker/parent.hpp"
#include "worker/pool.hpp"
#include "worker/registry.hpp"

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hal::test {

/** Calls functions in the loop's next turn, as asynchronous services answer. */
class Later {
 public:
  explicit Later(event::Loop& loop) : defer_(loop, "later", [this] { run(); }) {}
  void call(std::function<void()> function) {
    queue_.push_back(std::move(function));
    defer_.schedule();
  }

 private:
  void run() {
    for (auto& function : std::exchange(queue_, {})) {
      function();
    }
  }

  std::deque<std::function<void()>> queue_;
  event::Defer defer_;
};

/** A registry of plain data that records what it is asked. */
class FakeRegistry : public worker::Registry {
 public:
  explicit FakeRegistry(event::Loop& loop) : later_(loop) {}

  /** "stop 0a 10000", one line a call. */
  std::vector<std::string> calls;
  /** The next asynchronous call fails with it. */
  std::optional<Error> next_error;
  /** The next call throws, as a bug would. */
  bool throw_next = false;
  /** Spawns are not answered before release(). */
  bool hold = false;
  std::optional<worker::SpawnRequest> last_spawn;
  std::optional<worker::ExecRequest> last_exec;
  worker::ContainerUsage usage_now;
  std::string log_text;
  std::string screen;
  /** The far ends of the streams handed out. */
  std::vector<UniqueFd> far_ends;
  std::map<ExecId, int> exit_codes;
  std::vector<std::pair<ExecId, Done<int>>> waiting;

  worker::Worker& add(worker::Worker worker);
  void change(const WorkerId& id, const std::function<void(worker::Worker&)>& edit);
  void erase(const WorkerId& id);
  void release();
  /** Forgets the held spawns without an answer. */
  void give_up() { held_.clear(); }
  void exec_ended(ExecId id, int code);

  void set_listener(Listener* listener) override { listener_ = listener; }
  [[nodiscard]] const worker::Worker* find(const WorkerId& id) const override;
  [[nodiscard]] const worker::Worker* find(uid_t owner, std::string_view name) const override;
  [[nodiscard]] std::vector<const worker::Worker*> all() const override;
  [[nodiscard]] worker::ContainerUsage usage(const WorkerId& id) const override;
  void note_activity(const WorkerId& id, std::uint64_t usec) override;
  [[nodiscard]] std::uint64_t last_activity(const WorkerId& id) const override;
  [[nodiscard]] Result<UniqueFd> reopen_gateway_socket(const WorkerId& id) override;

  void spawn(worker::SpawnRequest request, Done<WorkerId> done) override;
  void attach(const WorkerId& id, worker::TerminalSize size, std::string term, Done<worker::Stream> done) override;
  void exec(const WorkerId& id, worker::ExecRequest request, Done<worker::Stream> done) override;
  void wait_exec(const WorkerId& id, ExecId exec, Done<int> done) override;
  Result<void> resize(const WorkerId& id, ExecId exec, worker::TerminalSize size) override;
  void send(const WorkerId& id, std::string text, Done<void> done) override;
  void capture(const WorkerId& id, std::uint32_t lines, Done<std::string> done) override;
  void logs(const WorkerId& id, worker::LogOptions options, Done<UniqueFd> done) override;
  void stop(const WorkerId& id, std::chrono::milliseconds timeout, Done<void> done) override;
  void kill(const WorkerId& id, int signal, Done<void> done) override;
  void remove(const WorkerId& id, Done<void> done) override;
  void restart(const WorkerId& id, Done<void> done) override;
  void pause(const WorkerId& id, Done<void> done) override;
  void resume(const WorkerId& id, Done<void> done) override;
  void set_limits(const WorkerId& id, worker::LimitChange change, Done<void> done) override;

 private:
  void note(std::string call);
  template <class T>
  void answer(Done<T> done, Result<T> result) {
    if (next_error) {
      result = *std::exchange(next_error, std::nullopt);
    }
    auto shared = std::make_shared<Result<T>>(std::move(result));
    later_.call([done = std::move(done), shared] { done(std::move(*shared)); });
  }
  void open_stream(Done<worker::Stream> done);

  Listener* listener_ = nullptr;
  std::map<WorkerId, worker::Worker> workers_;
  std::vector<std::function<void()>> held_;
  std::uint64_t next_exec_ = 1;
  std::uint64_t next_worker_ = 1;
  Later later_;
};

class FakeParent : public worker::Parent {
 public:
  explicit FakeParent(event::Loop& loop) : later_(loop) {}
  State state_now = State::running;
  std::string reason_now;
  ContainerId container_now{"holder"};
  pid_t pid_now = 42;
  ContainerId chroma_now{"chroma"};
  std::string health_now = "healthy";
  int chroma_restarts = 0;

  [[nodiscard]] State state() const override { return state_now; }
  [[nodiscard]] const std::string& reason() const override { return reason_now; }
  [[nodiscard]] const ContainerId& container() const override { return container_now; }
  [[nodiscard]] pid_t pid() const override { return pid_now; }
  [[nodiscard]] const ContainerId& chroma_container() const override { return chroma_now; }
  [[nodiscard]] std::string_view chroma_health() const override { return health_now; }
  void restart_chroma(Done<void> done) override {
    ++chroma_restarts;
    later_.call([done = std::move(done)] { done({}); });
  }

 private:
  Later later_;
};

class FakePool : public worker::Pool {
 public:
  explicit FakePool(event::Loop& loop) : later_(loop) {}
  Status status_now{.min = 2, .max = 5, .idle_timeout = std::chrono::seconds(300), .target = 2, .pressure = "none"};
  std::vector<Change> changes;
  std::optional<Error> next_error;
  /** Of the job that is under way: "warm 3". */
  std::string job;
  Progress progress;
  Done<void> done;
  bool cancelled = false;

  [[nodiscard]] Status status() const override { return status_now; }
  Result<void> configure(const Change& change) override {
    changes.push_back(change);
    return next_error ? Result<void>(*std::exchange(next_error, std::nullopt)) : Result<void>();
  }
  [[nodiscard]] worker::OperationHandle warm(std::uint32_t count, Progress on_progress, Done<void> over) override {
    return begin("warm " + std::to_string(count), std::move(on_progress), std::move(over));
  }
  [[nodiscard]] worker::OperationHandle drain(Progress on_progress, Done<void> over) override {
    return begin("drain", std::move(on_progress), std::move(over));
  }
  void cleanup(Done<std::uint32_t> over) override {
    later_.call([over = std::move(over)] { over(3); });
  }

 private:
  worker::OperationHandle begin(std::string what, Progress on_progress, Done<void> over);

  Later later_;
};

class FakeServers : public bus::ServerControl {
 public:
  explicit FakeServers(event::Loop& loop) : later_(loop) {}
  std::map<std::string, server::Server, std::less<>> servers;
  std::map<std::string, bus::ServerStatistics, std::less<>> numbers;
  std::vector<std::string> calls;
  std::optional<Error> next_error;
  std::string call_result = "{}";
  std::optional<bus::TraceRequest> last_trace;

  server::Server& add(const std::string& name);

  [[nodiscard]] const server::Server* find(std::string_view name) const override;
  [[nodiscard]] std::vector<const server::Server*> all() const override;
  [[nodiscard]] bus::ServerStatistics statistics(std::string_view name) const override;
  void start(std::string_view name, Done<void> done) override { answer("start", name, std::move(done)); }
  void stop(std::string_view name, Done<void> done) override { answer("stop", name, std::move(done)); }
  void restart(std::string_view name, Done<void> done) override { answer("restart", name, std::move(done)); }
  void call(std::string_view name, std::string method, std::string params, Done<std::string> done) override;
  void trace(std::string_view name, bus::TraceRequest request, Done<UniqueFd> done) override;

 private:
  void answer(const char* what, std::string_view name, Done<void> done);

  Later later_;
};

class FakeDaemon : public bus::DaemonControl {
 public:
  explicit FakeDaemon(event::Loop& loop) : later_(loop) {}
  std::string state_now = "running";
  bus::EngineStatus engine_now{.available = true,
                               .reason = "",
                               .info = {.version = "20.10",
                                        .api_version = "1.41",
                                        .cgroup_driver = "cgroupfs",
                                        .cgroup_version = 1,
                                        .storage_driver = "overlay2"}};
  std::optional<Error> reload_error;
  int reloads = 0;
  /** Of the stop_all that is under way. */
  std::chrono::milliseconds timeout{};
  Progress progress;
  Done<void> done;
  bool cancelled = false;

  [[nodiscard]] std::string version() const override { return "1.2.3"; }
  [[nodiscard]] std::string state() const override { return state_now; }
  [[nodiscard]] bus::EngineStatus engine() const override { return engine_now; }
  [[nodiscard]] std::vector<std::string> features() const override { return {"idmap"}; }
  void reload(Done<void> done) override;
  [[nodiscard]] worker::OperationHandle stop_all(std::chrono::milliseconds timeout, Progress progress,
                                                 Done<void> done) override;

 private:
  Later later_;
};

class FakeEditor : public bus::ServerEditor {
 public:
  explicit FakeEditor(event::Loop& loop) : later_(loop) {}
  std::vector<std::string> calls;
  std::optional<Error> next_error;
  std::optional<bus::InstallRequest> last_install;
  /** Of the installation that is under way. */
  bus::DaemonControl::Progress progress;
  Done<void> done;
  bool cancelled = false;

  void add(std::string servers, bus::AddOptions options, Done<std::vector<bus::ServerChange>> done) override;
  void remove(const std::string& name, Done<void> done) override;
  [[nodiscard]] Result<void> may_install(const bus::InstallRequest& request) const override;
  [[nodiscard]] worker::OperationHandle install(bus::InstallRequest request, bus::DaemonControl::Progress progress,
                                                Done<void> done) override;

 private:
  Later later_;
};

class FakeImages : public bus::ImageControl {
 public:
  explicit FakeImages(event::Loop& loop) : later_(loop) {}
  std::vector<image::Image> images;
  std::optional<Error> next_error;
  /** "build worker-minimal r", "load 12 bytes" */
  std::string job;
  bus::DaemonControl::Progress progress;
  Done<void> done;
  bool cancelled = false;

  void list(Done<std::vector<image::Image>> listed) override;
  [[nodiscard]] Result<void> may_begin(const std::vector<std::string>& names) const override;
  [[nodiscard]] worker::OperationHandle build(bus::BuildRequest request, bus::DaemonControl::Progress on_progress,
                                              Done<void> over) override;
  [[nodiscard]] worker::OperationHandle load(UniqueFd archive, bus::DaemonControl::Progress on_progress,
                                             Done<void> over) override;

 private:
  class Handle;

  Later later_;
};

}  // namespace hal::test
