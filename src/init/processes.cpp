#include "init/processes.hpp"

#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>
#include <vector>

namespace hal::init {

namespace {

/** As many as a container's pids limit could ever be useful for; a bound against a loop in a changing tree. */
constexpr std::size_t max_processes = 32768;

std::string read_file(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (;;) {
    const auto count = ::read(file.get(), buffer, sizeof buffer);
    if (count <= 0) {
      return text;
    }
    text.append(buffer, static_cast<std::size_t>(count));
  }
}

void append_children(pid_t parent, std::vector<pid_t>& out) {
  const auto id = std::to_string(parent);
  std::string path = "/proc/";
  path.append(id).append("/task/").append(id).append("/children");
  const auto text = read_file(path);
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end && out.size() < max_processes) {
    pid_t pid = 0;
    const auto [next, error] = std::from_chars(at, end, pid);
    if (error == std::errc{} && pid > 1) {
      out.push_back(pid);
    }
    at = next == at ? at + 1 : next;
  }
}

}  // namespace

void signal_all(int number) {
  if (::getpid() == 1) {
    ::kill(-1, number);
    return;
  }
  std::vector<pid_t> processes;
  append_children(::getpid(), processes);
  for (std::size_t i = 0; i < processes.size(); ++i) {
    append_children(processes[i], processes);
  }
  for (const pid_t pid : processes) {
    ::kill(pid, number);
  }
}

int run_pause() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  for (;;) {
    const int number = ::sigwaitinfo(&set, nullptr);
    if (number == SIGTERM || number == SIGINT) {
      return 0;
    }
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace hal::init
