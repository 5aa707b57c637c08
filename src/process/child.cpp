#include "process/child.hpp"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

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
    : pid_(pid), on_exit_(std::move(on_exit)), source_(loop, pid, std::move(name), [this](const siginfo_t& info) {
        ::kill(-pid_, SIGKILL);  // grandchildren in the group must not outlive their server
        running_ = false;
        const auto on_exit_once = std::exchange(on_exit_, nullptr);
        on_exit_once(of_siginfo(info));  // may destroy this
      }) {}

Child::~Child() {
  if (running_) {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);  // a forked task may not have made its group yet
    int status = 0;
    (void)::waitpid(pid_, &status, 0);  // a SIGKILLed process ends without waiting for anybody
  }
}

void Child::kill_group(int signal) noexcept {
  if (running_) {
    ::kill(-pid_, signal);
  }
}

}  // namespace hal::process
