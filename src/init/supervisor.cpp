#include "init/supervisor.hpp"

#include "init/processes.hpp"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace hal::init {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds hang_up_after{2000};
constexpr milliseconds kill_main_after{3000};  // after that
constexpr milliseconds drain_limit{1000};
constexpr milliseconds close_limit{300};
constexpr milliseconds terminate_limit{2000};
constexpr milliseconds kill_limit{1000};
constexpr milliseconds flush_limit{500};

UniqueFd open_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) {
    throw_system_error("sigprocmask");
  }
  for (const int number : {SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2}) {
    ::signal(number, SIG_IGN);
  }
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) {
    throw_system_error("signalfd");
  }
  return fd;
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Record make_record(RecordKind kind, ExecId id) {
  Record record;
  record.kind = kind;
  record.id = id;
  return record;
}

}  // namespace

Supervisor::Supervisor(Settings settings)
    : signals_(open_signals()),
      signals_watch_(epoll_, signals_.get(), EPOLLIN, [this](std::uint32_t) { signalled(); }),
      phase_timer_(epoll_, [this] { step(); }),
      control_(epoll_, std::move(settings.control), *this),
      execs_(epoll_, [this](const Record& record, UniqueFd fd) { control_.send(record, std::move(fd)); }),
      session_(epoll_, std::move(settings.session), *this) {
  if (::getpid() != 1 && ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
    throw_system_error("prctl");
  }
}

int Supervisor::run() {
  while (phase_ != Phase::done) {
    epoll_.turn();
    if (phase_ == Phase::flushing && control_.flushed()) {
      enter(Phase::done);
    }
  }
  return exit_code_;
}

std::vector<Record> Supervisor::greeting() {
  const bool started = session_.state() == Session::State::running || session_.state() == Session::State::ended;
  Record hello = make_record(RecordKind::hello, started ? session_.id() : ExecId{});
  hello.flags = started ? record_main_started : 0;
  std::vector<Record> records{hello};
  const auto running = execs_.running();
  records.insert(records.end(), running.begin(), running.end());
  if (session_.state() == Session::State::ended) {
    Record ended = make_record(RecordKind::main_exited, session_.id());
    ended.status = session_.status();
    records.push_back(ended);
  }
  return records;
}

void Supervisor::fail(ExecId id, int error) {
  Record record = make_record(RecordKind::failed, id);
  record.error = error;
  control_.send(record);
}

void Supervisor::requested(Request request, std::vector<UniqueFd> fds) {
  const auto state = session_.state();
  const bool is_main = state != Session::State::idle && request.id == session_.id();
  const bool startable =
      state == Session::State::idle || state == Session::State::preparing || state == Session::State::prepared;
  switch (request.kind) {
    case RequestKind::prepare:
    case RequestKind::main:
      if (phase_ != Phase::serving) {
        fail(request.id, ESHUTDOWN);
      } else if (!startable) {
        fail(request.id, EALREADY);
      } else if (request.kind == RequestKind::prepare) {
        session_.prepare(std::move(request));
      } else {
        session_.start(std::move(request));
      }
      return;
    case RequestKind::exec:
      if (phase_ != Phase::serving) {
        fail(request.id, ESHUTDOWN);
      } else if (is_main) {
        fail(request.id, EEXIST);
      } else {
        execs_.start(request, std::move(fds));
      }
      return;
    case RequestKind::signal:
      if (is_main) {
        session_.signal(request.signal);
      } else {
        execs_.signal(request.id, request.signal);
      }
      return;
    case RequestKind::resize:
      execs_.resize(request.id, request.rows, request.columns);
      return;
    case RequestKind::ping:
      control_.send(make_record(RecordKind::pong, request.id));
      return;
  }
}

void Supervisor::prepared(ExecId id) {
  control_.send(make_record(RecordKind::prepared, id));
}

void Supervisor::main_started(ExecId id, pid_t pid) {
  Record record = make_record(RecordKind::started, id);
  record.pid = pid;
  control_.send(record);
}

void Supervisor::main_failed(ExecId id, int error) {
  fail(id, error);
}

void Supervisor::main_ended(ExecId id, int status) {
  Record record = make_record(RecordKind::main_exited, id);
  record.status = status;
  control_.send(record);
  exit_code_ = exit_code_of(status);
  if (phase_ == Phase::serving || phase_ == Phase::asked) {
    enter(Phase::draining);
  }
}

void Supervisor::main_drained() {
  if (phase_ == Phase::draining) {
    enter(Phase::closing);
  }
}

void Supervisor::signalled() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGTERM) {
      asked_to_end();
    }
  }
  reap();
}

void Supervisor::reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) {
      const bool none = pid < 0 && errno == ECHILD;
      if (none && (phase_ == Phase::terminating || phase_ == Phase::killing)) {
        enter(Phase::flushing);
      }
      return;
    }
    if (!execs_.reaped(pid, status)) {
      session_.reaped(pid, status);
    }
    if (phase_ == Phase::closing && pid == session_.server()) {
      enter(Phase::terminating);
    }
  }
}

void Supervisor::asked_to_end() {
  if (phase_ != Phase::serving) {
    return;
  }
  enter(session_.state() == Session::State::running ? Phase::asked : Phase::terminating);
}

/** The time of a phase is up. */
void Supervisor::step() {
  switch (phase_) {
    case Phase::asked:
      session_.signal(hung_up_ ? SIGKILL : SIGHUP);
      if (!hung_up_) {
        phase_timer_.start(kill_main_after);
      }
      hung_up_ = true;
      return;
    case Phase::draining:
      enter(Phase::closing);
      return;
    case Phase::closing:
      enter(Phase::terminating);
      return;
    case Phase::terminating:
      enter(Phase::killing);
      return;
    case Phase::killing:
      enter(Phase::flushing);
      return;
    case Phase::flushing:
      enter(Phase::done);
      return;
    case Phase::serving:
    case Phase::done:
      return;
  }
}

void Supervisor::enter(Phase phase) {
  phase_ = phase;
  switch (phase) {
    case Phase::asked:
      session_.signal(SIGTERM);
      session_.signal(SIGCONT);
      phase_timer_.start(hang_up_after);
      return;
    case Phase::draining:
      phase_timer_.start(drain_limit);
      return;
    case Phase::closing:
      session_.close();
      phase_timer_.start(close_limit);
      return;
    case Phase::terminating:
      signal_all(SIGTERM);
      signal_all(SIGCONT);
      phase_timer_.start(terminate_limit);
      reap();
      return;
    case Phase::killing:
      signal_all(SIGKILL);
      phase_timer_.start(kill_limit);
      return;
    case Phase::flushing:
      phase_timer_.start(flush_limit);
      return;
    case Phase::serving:
    case Phase::done:
      return;
  }
}

}  // namespace hal::init
