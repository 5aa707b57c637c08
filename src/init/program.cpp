#include "init/program.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

namespace hal::init {

namespace {

constexpr std::string_view default_path = "/usr/local/bin:/usr/bin:/bin";

std::string_view path_of(const std::vector<std::string>& env) {
  for (const std::string_view entry : env) {
    if (entry.substr(0, 5) == "PATH=") {
      return entry.substr(5);
    }
  }
  return default_path;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const auto& text : strings) {
    out.push_back(const_cast<char*>(text.c_str()));  // NOLINT(cppcoreguidelines-pro-type-const-cast): execve's type
  }
  out.push_back(nullptr);
  return out;
}

/** Returns the errno with which nothing was run. As execvpe, but with the PATH of the new environment. */
int execute(const Command& command) {
  const auto argv = pointers(command.argv);
  const auto env = pointers(command.env);
  const std::string& program = command.argv.front();
  if (program.find('/') != std::string::npos) {
    ::execve(program.c_str(), argv.data(), env.data());
    return errno;
  }
  int error = ENOENT;
  std::string_view rest = path_of(command.env);
  for (;;) {
    const auto colon = rest.find(':');
    std::string candidate(rest.substr(0, colon));
    candidate.append(candidate.empty() ? "./" : "/").append(program);
    ::execve(candidate.c_str(), argv.data(), env.data());
    if (errno == EACCES) {
      error = EACCES;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      return errno;
    }
    if (colon == std::string_view::npos) {
      return error;
    }
    rest.remove_prefix(colon + 1);
  }
}

void reset_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number <= SIGRTMAX; ++number) {
    ::sigaction(number, &action, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/** The child's part up to execve. Returns the errno of what failed. */
int become(const Command& command, const Stdio& stdio) {
  if (stdio.new_session && ::setsid() < 0) {
    return errno;
  }
  if (stdio.terminal && ::ioctl(stdio.in, TIOCSCTTY, 0) < 0) {
    return errno;
  }
  if ((stdio.in != 0 && ::dup2(stdio.in, 0) < 0) || (stdio.out != 1 && ::dup2(stdio.out, 1) < 0) ||
      (stdio.err != 2 && ::dup2(stdio.err, 2) < 0)) {
    return errno;
  }
  // Ours are close-on-exec already; this is for what the engine may have left open in PID 1.
  ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
  if (::chdir(command.cwd.c_str()) < 0) {
    return errno;
  }
  reset_signals();
  return execute(command);
}

}  // namespace

std::optional<Pty> open_pty(std::uint16_t rows, std::uint16_t columns) {
  Pty pty;
  pty.master = UniqueFd(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
  int locked = 0;
  if (!pty.master || ::ioctl(pty.master.get(), TIOCSPTLCK, &locked) < 0) {
    return std::nullopt;
  }
  pty.slave = UniqueFd(::ioctl(pty.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!pty.slave) {
    return std::nullopt;
  }
  set_window(pty.slave.get(), rows, columns);
  return pty;
}

void set_window(int terminal, std::uint16_t rows, std::uint16_t columns) {
  winsize size{};
  size.ws_row = rows != 0 ? rows : 24;
  size.ws_col = columns != 0 ? columns : 80;
  ::ioctl(terminal, TIOCSWINSZ, &size);
}

std::optional<Launch> launch(const Command& command, const Stdio& stdio) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) < 0) {
    return std::nullopt;
  }
  Launch started;
  started.outcome = UniqueFd(ends[0]);
  const UniqueFd writer(ends[1]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  started.pid = ::fork();
  if (started.pid < 0) {
    return std::nullopt;
  }
  if (started.pid == 0) {
    const int error = become(command, stdio);
    // A lost write reads as success to the parent, which then sees status 127.
    [[maybe_unused]] const auto written = ::write(writer.get(), &error, sizeof error);
    ::_exit(127);
  }
  return started;
}

std::optional<int> outcome(const Launch& launch) {
  int error = 0;
  const auto count = ::read(launch.outcome.get(), &error, sizeof error);
  if (count < 0) {
    return errno == EAGAIN || errno == EINTR ? std::nullopt : std::optional<int>(errno);
  }
  return count == sizeof error ? error : 0;
}

}  // namespace hal::init
