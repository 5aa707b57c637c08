#include "fakes/bus_fakes.hpp"

#include "base/error.hpp"
#include "io/listener.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace hal::test {

worker::Worker& FakeRegistry::add(worker::Worker worker) {
  const auto id = worker.id;
  auto& added = workers_[id] = std::move(worker);
  if (listener_ != nullptr) {
    listener_->on_worker_added(added);
  }
  return added;
}

void FakeRegistry::change(const WorkerId& id, const std::function<void(worker::Worker&)>& edit) {
  auto& worker = workers_.at(id);
  edit(worker);
  if (listener_ != nullptr) {
    listener_->on_worker_changed(worker);
  }
}

void FakeRegistry::erase(const WorkerId& id) {
  if (workers_.erase(id) != 0 && listener_ != nullptr) {
    listener_->on_worker_removed(id);
  }
}

void FakeRegistry::release() {
  hold = false;
  for (auto& function : std::exchange(held_, {})) {
    function();
  }
}

void FakeRegistry::exec_ended(ExecId id, int code) {
  exit_codes[id] = code;
  for (auto& [exec, done] : std::exchange(waiting, {})) {
    if (exec == id) {
      done(code);
    } else {
      waiting.emplace_back(exec, std::move(done));
    }
  }
}

const worker::Worker* FakeRegistry::find(const WorkerId& id) const {
  const auto found = workers_.find(id);
  return found != workers_.end() ? &found->second : nullptr;
}

const worker::Worker* FakeRegistry::find(uid_t owner, std::string_view name) const {
  for (const auto& [id, worker] : workers_) {
    if (worker.owner == owner && worker.name == name) {
      return &worker;
    }
  }
  return nullptr;
}

std::vector<const worker::Worker*> FakeRegistry::all() const {
  std::vector<const worker::Worker*> workers;
  for (const auto& [id, worker] : workers_) {
    workers.push_back(&worker);
  }
  return workers;
}

worker::ContainerUsage FakeRegistry::usage(const WorkerId&) const {
  return usage_now;
}

void FakeRegistry::note_activity(const WorkerId& id, std::uint64_t usec) {
  workers_.at(id).last_activity_usec = usec;
}

std::uint64_t FakeRegistry::last_activity(const WorkerId& id) const {
  return workers_.at(id).last_activity_usec;
}

Result<UniqueFd> FakeRegistry::reopen_gateway_socket(const WorkerId&) {
  return Error{Errc::unavailable, "a fake has no sockets"};
}

void FakeRegistry::note(std::string call) {
  calls.push_back(std::move(call));
  if (std::exchange(throw_next, false)) {
    throw std::logic_error("secret of the implementation");
  }
}

void FakeRegistry::spawn(worker::SpawnRequest request, Done<WorkerId> done) {
  note("spawn " + request.workspace);
  last_spawn = std::move(request);
  const auto finish = [this, done = std::move(done), owner = last_spawn->owner, name = last_spawn->name] {
    if (next_error) {
      answer<WorkerId>(done, WorkerId{});
      return;
    }
    worker::Worker worker;
    worker.id = WorkerId{fmt::format("{:012x}", next_worker_++)};
    worker.owner = owner;
    worker.name = name;
    worker.state = worker::State::running;
    answer<WorkerId>(done, add(std::move(worker)).id);
  };
  if (hold) {
    held_.emplace_back(finish);
  } else {
    finish();
  }
}

void FakeRegistry::open_stream(Done<worker::Stream> done) {
  auto pair = io::socket_pair(SOCK_STREAM);
  far_ends.push_back(std::move(pair->ours));
  answer<worker::Stream>(std::move(done), worker::Stream{std::move(pair->theirs), ExecId{next_exec_++}});
}

void FakeRegistry::attach(const WorkerId& id, worker::TerminalSize size, std::string term, Done<worker::Stream> done) {
  note(fmt::format("attach {} {}x{} {}", id.value, size.rows, size.columns, term));
  open_stream(std::move(done));
}

void FakeRegistry::exec(const WorkerId& id, worker::ExecRequest request, Done<worker::Stream> done) {
  note("exec " + id.value);
  last_exec = std::move(request);
  open_stream(std::move(done));
}

void FakeRegistry::wait_exec(const WorkerId& id, ExecId exec, Done<int> done) {
  note(fmt::format("wait_exec {} {}", id.value, exec.value));
  const auto ended = exit_codes.find(exec);
  if (ended != exit_codes.end()) {
    answer<int>(std::move(done), ended->second);
  } else if (exec.value >= next_exec_) {
    answer<int>(std::move(done), Error{Errc::not_found, "no such program"});
  } else {
    waiting.emplace_back(exec, std::move(done));
  }
}

Result<void> FakeRegistry::resize(const WorkerId& id, ExecId exec, worker::TerminalSize size) {
  note(fmt::format("resize {} {} {}x{}", id.value, exec.value, size.rows, size.columns));
  if (exec.value >= next_exec_) {
    return Error{Errc::not_found, "no such program"};
  }
  return {};
}

void FakeRegistry::send(const WorkerId& id, std::string text, Done<void> done) {
  note(fmt::format("send {} {}", id.value, text));
  answer<void>(std::move(done), {});
}

void FakeRegistry::capture(const WorkerId& id, std::uint32_t lines, Done<std::string> done) {
  note(fmt::format("capture {} {}", id.value, lines));
  answer<std::string>(std::move(done), screen);
}

void FakeRegistry::logs(const WorkerId& id, worker::LogOptions options, Done<UniqueFd> done) {
  note(fmt::format("logs {} {} {} {}", id.value, options.follow, options.tail.value_or(0), options.timestamps));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw_errno("pipe2");
  }
  const UniqueFd writing(ends[1]);
  (void)!::write(writing.get(), log_text.data(), log_text.size());
  answer<UniqueFd>(std::move(done), UniqueFd(ends[0]));
}

void FakeRegistry::stop(const WorkerId& id, std::chrono::milliseconds timeout, Done<void> done) {
  note(fmt::format("stop {} {}", id.value, timeout.count()));
  answer<void>(std::move(done), {});
}

void FakeRegistry::kill(const WorkerId& id, int signal, Done<void> done) {
  note(fmt::format("kill {} {}", id.value, signal));
  answer<void>(std::move(done), {});
}

void FakeRegistry::remove(const WorkerId& id, Done<void> done) {
  note("remove " + id.value);
  erase(id);  // the listener is told from inside, which is the harder case
  answer<void>(std::move(done), {});
}

void FakeRegistry::restart(const WorkerId& id, Done<void> done) {
  note("restart " + id.value);
  answer<void>(std::move(done), {});
}

void FakeRegistry::pause(const WorkerId& id, Done<void> done) {
  note("pause " + id.value);
  answer<void>(std::move(done), {});
}

void FakeRegistry::resume(const WorkerId& id, Done<void> done) {
  note("resume " + id.value);
  answer<void>(std::move(done), {});
}

void FakeRegistry::set_limits(const WorkerId& id, worker::LimitChange change, Done<void> done) {
  note(fmt::format("set_limits {} {} {} {}", id.value, change.memory_bytes.value_or(0), change.nano_cpus.value_or(0),
                   change.pids.value_or(0)));
  answer<void>(std::move(done), {});
}

server::Server& FakeServers::add(const std::string& name) {
  auto& server = servers[name];
  server.config.name = name;
  server.state = server::State::running;
  return server;
}

const server::Server* FakeServers::find(std::string_view name) const {
  const auto found = servers.find(name);
  return found != servers.end() ? &found->second : nullptr;
}

std::vector<const server::Server*> FakeServers::all() const {
  std::vector<const server::Server*> all;
  for (const auto& [name, server] : servers) {
    all.push_back(&server);
  }
  return all;
}

bus::ServerStatistics FakeServers::statistics(std::string_view name) const {
  const auto found = numbers.find(name);
  return found != numbers.end() ? found->second : bus::ServerStatistics{};
}

void FakeServers::call(std::string_view name, std::string method, std::string params, Done<std::string> done) {
  calls.push_back(fmt::format("call {} {} {}", name, method, params));
  Result<std::string> result = call_result;
  if (next_error) {
    result = *std::exchange(next_error, std::nullopt);
  }
  later_.call([done = std::move(done), result] { done(result); });
}

void FakeServers::trace(std::string_view name, bus::TraceRequest request, Done<UniqueFd> done) {
  calls.push_back(fmt::format("trace {}", name));
  last_trace = std::move(request);
  const auto answer = std::make_shared<Result<UniqueFd>>(UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
  if (next_error) {
    *answer = *std::exchange(next_error, std::nullopt);
  }
  later_.call([done = std::move(done), answer] { done(std::move(*answer)); });
}

void FakeServers::answer(const char* what, std::string_view name, Done<void> done) {
  calls.push_back(fmt::format("{} {}", what, name));
  Result<void> result;
  if (next_error) {
    result = *std::exchange(next_error, std::nullopt);
  }
  later_.call([done = std::move(done), result] { done(result); });
}

void FakeDaemon::reload(Done<void> answered) {
  ++reloads;
  Result<void> result;
  if (reload_error) {
    result = *reload_error;
  }
  later_.call([answered = std::move(answered), result] { answered(result); });
}

worker::OperationHandle FakeDaemon::stop_all(std::chrono::milliseconds within, Progress on_progress, Done<void> over) {
  class Handle : public worker::Operation {
   public:
    explicit Handle(FakeDaemon& daemon) : daemon_(daemon) {}
    ~Handle() override { daemon_.cancelled = true; }

   private:
    FakeDaemon& daemon_;
  };
  timeout = within;
  progress = std::move(on_progress);
  done = std::move(over);
  return std::make_unique<Handle>(*this);
}

worker::OperationHandle FakePool::begin(std::string what, Progress on_progress, Done<void> over) {
  class Handle : public worker::Operation {
   public:
    explicit Handle(FakePool& pool) : pool_(pool) {}
    ~Handle() override { pool_.cancelled = true; }

   private:
    FakePool& pool_;
  };
  job = std::move(what);
  progress = std::move(on_progress);
  done = std::move(over);
  return std::make_unique<Handle>(*this);
}

void FakeEditor::add(std::string servers, bus::AddOptions options, Done<std::vector<bus::ServerChange>> answered) {
  calls.push_back(fmt::format("add {} {}{}", servers, options.replace ? "r" : "-", options.dry_run ? "d" : "-"));
  Result<std::vector<bus::ServerChange>> result = std::vector<bus::ServerChange>{{"a", "added", ""}};
  if (next_error) {
    result = *std::exchange(next_error, std::nullopt);
  }
  later_.call([answered = std::move(answered), result] { answered(result); });
}

void FakeEditor::remove(const std::string& name, Done<void> answered) {
  calls.push_back("remove " + name);
  Result<void> result;
  if (next_error) {
    result = *std::exchange(next_error, std::nullopt);
  }
  later_.call([answered = std::move(answered), result] { answered(result); });
}

Result<void> FakeEditor::may_install(const bus::InstallRequest& /*request*/) const {
  return next_error ? Result<void>(*next_error) : Result<void>();
}

worker::OperationHandle FakeEditor::install(bus::InstallRequest request, bus::DaemonControl::Progress on_progress,
                                            Done<void> over) {
  class Handle : public worker::Operation {
   public:
    explicit Handle(FakeEditor& editor) : editor_(editor) {}
    ~Handle() override { editor_.cancelled = true; }

   private:
    FakeEditor& editor_;
  };
  last_install = std::move(request);
  progress = std::move(on_progress);
  done = std::move(over);
  return std::make_unique<Handle>(*this);
}

class FakeImages::Handle final : public worker::Operation {
 public:
  explicit Handle(FakeImages& images) : images_(images) {}
  ~Handle() override { images_.cancelled = true; }

 private:
  FakeImages& images_;
};

void FakeImages::list(Done<std::vector<image::Image>> listed) {
  later_.call([this, listed = std::move(listed)] { listed(images); });
}

Result<void> FakeImages::may_begin(const std::vector<std::string>& /*names*/) const {
  return next_error ? Result<void>(*next_error) : Result<void>();
}

worker::OperationHandle FakeImages::build(bus::BuildRequest request, bus::DaemonControl::Progress on_progress,
                                          Done<void> over) {
  job = fmt::format("build {} {}", fmt::join(request.names, ","), request.refresh ? "r" : "-");
  progress = std::move(on_progress);
  done = std::move(over);
  return std::make_unique<Handle>(*this);
}

worker::OperationHandle FakeImages::load(UniqueFd archive, bus::DaemonControl::Progress on_progress, Done<void> over) {
  struct stat status {};
  job = ::fstat(archive.get(), &status) == 0 ? fmt::format("load {} bytes", status.st_size) : "load nothing";
  progress = std::move(on_progress);
  done = std::move(over);
  return std::make_unique<Handle>(*this);
}

}  // namespace hal::test
