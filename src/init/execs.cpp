#include "init/execs.hpp"

#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace hal::init {

Execs::Execs(Epoll& epoll, Report report) : epoll_(epoll), report_(std::move(report)) {}

void Execs::fail(ExecId id, int error) const {
  Record record;
  record.kind = RecordKind::failed;
  record.id = id;
  record.error = error;
  report_(record, {});
}

void Execs::start(const Request& request, std::vector<UniqueFd> fds) {
  if (execs_.count(request.id) != 0) {
    fail(request.id, EEXIST);
    return;
  }
  if (execs_.size() >= limits::execs_per_worker) {
    fail(request.id, EAGAIN);
    return;
  }
  Exec exec;
  exec.terminal = request.terminal;
  Stdio stdio;
  if (request.terminal) {
    auto pty = open_pty(request.rows, request.columns);
    if (!pty) {
      fail(request.id, errno);
      return;
    }
    exec.master = std::move(pty->master);
    exec.slave = std::move(pty->slave);
    stdio = {exec.slave.get(), exec.slave.get(), exec.slave.get(), true, true};
  } else {
    stdio = {fds[0].get(), fds[1].get(), fds[2].get(), false, true};
  }
  exec.launch = launch({request.cwd, request.argv, request.env}, stdio);
  if (!exec.launch) {
    fail(request.id, errno);
    return;
  }
  exec.pid = exec.launch->pid;
  Exec& kept = execs_.emplace(request.id, std::move(exec)).first->second;
  kept.watch = std::make_unique<Watch>(epoll_, kept.launch->outcome.get(), EPOLLIN,
                                       [this, id = request.id](std::uint32_t) { settle(id); });
}

bool Execs::settle(ExecId id) {
  const auto found = execs_.find(id);
  if (found == execs_.end()) {
    return false;
  }
  Exec& exec = found->second;
  if (!exec.launch) {
    return true;
  }
  const auto error = outcome(*exec.launch);
  if (!error) {
    return false;
  }
  exec.watch.reset();
  exec.launch.reset();
  if (*error != 0) {
    execs_.erase(found);  // its child is reaped like an orphan
    fail(id, *error);
    return false;
  }
  Record record;
  record.kind = RecordKind::started;
  record.id = id;
  record.pid = exec.pid;
  record.flags = exec.terminal ? record_terminal : 0;
  report_(record, std::move(exec.master));
  return true;
}

void Execs::signal(ExecId id, int number) const {
  const auto found = execs_.find(id);
  if (found != execs_.end() && !found->second.launch) {
    ::kill(-found->second.pid, number);
  }
}

void Execs::resize(ExecId id, std::uint16_t rows, std::uint16_t columns) const {
  const auto found = execs_.find(id);
  if (found != execs_.end() && found->second.slave) {
    set_window(found->second.slave.get(), rows, columns);
  }
}

bool Execs::reaped(pid_t pid, int status) {
  const auto found =
      std::find_if(execs_.begin(), execs_.end(), [pid](const auto& entry) { return entry.second.pid == pid; });
  if (found == execs_.end()) {
    return false;
  }
  const ExecId id = found->first;
  if (settle(id)) {
    execs_.erase(id);
    Record record;
    record.kind = RecordKind::exited;
    record.id = id;
    record.pid = pid;
    record.status = status;
    report_(record, {});
  }
  return true;
}

std::vector<Record> Execs::running() const {
  std::vector<Record> records;
  for (const auto& [id, exec] : execs_) {
    if (!exec.launch) {
      Record record;
      record.kind = RecordKind::running;
      record.id = id;
      record.pid = exec.pid;
      record.flags = exec.terminal ? record_terminal : 0;
      records.push_back(record);
    }
  }
  return records;
}

}  // namespace hal::init
