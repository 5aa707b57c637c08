#include "support/component.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace hal::test {

namespace {

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds left(Clock::time_point end) {
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()), 0ms);
}

/** Whether `fd` became readable or ended before `end`. */
bool wait_readable(int fd, Clock::time_point end) {
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(left(end).count()));
    if (ready > 0) {
      return true;
    }
    if (ready == 0 || errno != EINTR) {
      return false;
    }
  }
}

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

/** The state letter of /proc/PID/stat, 0 if there is no such process. */
char process_state(pid_t pid) {
  const auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  const auto name_end = stat.rfind(") ");
  return name_end == std::string::npos ? '\0' : stat[name_end + 2];
}

}  // namespace

std::chrono::milliseconds scaled(std::chrono::milliseconds duration) {
  static const double factor = [] {
    const char* value = std::getenv("HAL_TEST_TIME_FACTOR");
    const double number = value != nullptr ? std::strtod(value, nullptr) : 0;
    return number > 0 ? number : 1.0;
  }();
  return std::chrono::milliseconds(
      static_cast<std::chrono::milliseconds::rep>(static_cast<double>(duration.count()) * factor));
}

bool run_until(event::Loop& loop, const std::function<bool()>& predicate, std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + scaled(deadline);
  while (!predicate()) {
    const auto remaining = left(end);
    if (remaining <= 0ms || !loop.run_once(remaining)) {
      return predicate();
    }
  }
  return true;
}

void run_ready(event::Loop& loop) {
  // A turn handles one source, so a few hundred turns let everything that is ready, and what it makes ready, run.
  for (int turn = 0; turn < 300 && loop.run_once(0ms); ++turn) {
  }
}

TempDir::TempDir() {
  path_ = (std::filesystem::temp_directory_path() / "hal-test-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) {
    throw_errno("mkdtemp " + path_);
  }
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::operator/(std::string_view name) const {
  return path_ + "/" + std::string(name);
}

std::string TempDir::write(std::string_view name, std::string_view content, mode_t mode) const {
  const auto path = *this / name;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
  if (::chmod(path.c_str(), mode) != 0) {
    throw_errno("chmod " + path);
  }
  return path;
}

std::string read_file(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

std::size_t open_fds() {
  return entries("/proc/self/fd").size() - 1;  // the folder itself is open meanwhile
}

std::vector<pid_t> children() {
  std::vector<pid_t> pids;
  std::istringstream list(read_file("/proc/self/task/" + std::to_string(::getpid()) + "/children"));
  for (pid_t pid = 0; list >> pid;) {
    pids.push_back(pid);
  }
  return pids;
}

bool process_runs(pid_t pid) {
  const char state = process_state(pid);
  return state != '\0' && state != 'Z' && state != 'X';
}

bool wait_gone(pid_t pid, std::chrono::milliseconds deadline) {
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return !pidfd || wait_readable(pidfd.get(), Clock::now() + scaled(deadline));
}

std::string read_all(int fd, std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + scaled(deadline);
  std::string content;
  while (wait_readable(fd, end)) {
    char buffer[65536];
    const ssize_t bytes = ::read(fd, buffer, sizeof buffer);
    if (bytes <= 0 && errno != EAGAIN && errno != EINTR) {
      break;
    }
    if (bytes == 0) {
      break;
    }
    content.append(buffer, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  }
  return content;
}

std::string read_line(int fd, std::chrono::milliseconds deadline) {
  const auto end = Clock::now() + scaled(deadline);
  std::string line;
  char c = 0;
  while (wait_readable(fd, end) && ::read(fd, &c, 1) == 1 && c != '\n') {
    line += c;
  }
  return line;
}

Pipe make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    throw_errno("pipe2");
  }
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

HangingProgram::HangingProgram(const TempDir& folder)
    : path_(folder.write("hanging", "#!/bin/sh\nexit 0\n", 0755)), lease_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  // Who opens a file with a lease on it waits until the lease is given back. Its holder is told by a signal.
  (void)::signal(SIGIO, SIG_IGN);
  if (::fcntl(lease_.get(), F_SETLEASE, F_WRLCK) != 0) {
    throw_errno("F_SETLEASE");
  }
}

HangingProgram::~HangingProgram() {
  (void)::fcntl(lease_.get(), F_SETLEASE, F_UNLCK);
}

}  // namespace hal::test
