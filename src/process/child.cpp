#include "process/child.hpp"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace hal::process {

namespace {

ExitStatus of_siginfo(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) {
    return {info.si_status, 0};
  }
  return {128 + info.si_status, info.si_status};
}

}  // namespace

std::string ExitStatus::describe() const {
  if (signal != 0) {
    const char* text = ::sigdescr_np(signal);
    return fmt::format("was killed by signal {} ({})", signal, text != nullptr ? text : "unknown");
  }
  return fmt::format("exited with code {}", code);
}

ExitStatus exit_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return {128 + WTERMSIG(wait_status), WTERMSIG(wait_status)};
  }
  return {WEXITSTATUS(wait_status), 0};
}

Child::Child(event::Loop& loop, pid_t pid, std::string name, Callback on_exit)
    : pid_(pid), on_exit_(std::move(on_exit)), unwatched_(loop, name + " (unwatched)", [this] {
        this->on_exit({128 + SIGKILL, SIGKILL});
      }) {
  try {
    source_ = std::make_unique<event::ChildExit>(loop, pid, std::move(name),
                                                 [this](const siginfo_t& info) { this->on_exit(of_siginfo(info)); });
  } catch (const std::system_error&) {
    kill_all();
    int status = 0;
    (void)::waitpid(pid_, &status, 0);
    unwatched_.schedule();
  }
}

Child::~Child() {
  if (running_ && source_) {
    kill_all();
    source_->abandon();
  }
}

void Child::kill_group(int signal) noexcept {
  if (running_ && source_) {
    ::kill(-pid_, signal);
  }
}

void Child::on_exit(const ExitStatus& status) {
  if (source_) {
    ::kill(-pid_, SIGKILL);  // the leader is not reaped yet, so the group's number is still ours
  }
  running_ = false;
  const auto on_exit_once = std::exchange(on_exit_, nullptr);
  on_exit_once(status);  // may destroy this
}

void Child::kill_all() noexcept {
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);  // a forked task may not have made its group yet
}

}  // namespace hal::process
