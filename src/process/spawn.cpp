#include "process/spawn.hpp"

#include "process/signals.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace hal::process {

namespace {

/** What the child tells the parent when it cannot become the program: the step and its errno. */
struct Failure {
  int errno_value = 0;
  std::array<char, 32> step{};
};

[[noreturn]] void give_up(int report_fd, const char* step) {
  Failure failure;
  failure.errno_value = errno;
  std::copy_n(step, std::min(std::char_traits<char>::length(step), failure.step.size() - 1), failure.step.begin());
  (void)!::write(report_fd, &failure, sizeof failure);
  ::_exit(127);
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const auto& string : strings) {
    result.push_back(const_cast<char*>(string.c_str()));
  }
  result.push_back(nullptr);
  return result;
}

/** Candidates for execve, found before the fork so that the child allocates nothing. */
std::vector<std::string> candidates(const SpawnSpec& spec) {
  const std::string& program = spec.argv.front();
  if (program.find('/') != std::string::npos) {
    return {program};
  }
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const auto& entry : spec.env) {
    if (entry.starts_with("PATH=")) {
      path = entry.substr(5);
    }
  }
  std::vector<std::string> result;
  for (std::size_t at = 0; at <= path.size();) {
    const auto end = std::min(path.find(':', at), path.size());
    if (end > at) {
      result.push_back(path.substr(at, end - at) + "/" + program);
    }
    at = end + 1;
  }
  return result;
}

/** Descriptors from here on are free for passing through; those a child wants have smaller numbers. */
constexpr int first_free_fd = 64;

/** Moves every descriptor above the numbers the child wants, then into place; the rest closes by close-on-exec. */
void place_fds(const std::vector<std::pair<int, int>>& fds, std::vector<int>& moved, int report_fd) {
  // Ours are close-on-exec from birth; this is for those of libraries. Kernels before 5.11 cannot.
  (void)::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  for (std::size_t i = 0; i < fds.size(); ++i) {
    moved[i] = ::fcntl(fds[i].second, F_DUPFD_CLOEXEC, first_free_fd);
    if (moved[i] < 0) {
      give_up(report_fd, "dup");
    }
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) {
    if (null < 0 || ::dup2(null, fd) < 0) {
      give_up(report_fd, "open /dev/null");
    }
  }
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if (::dup2(moved[i], fds[i].first) < 0) {
      give_up(report_fd, "dup2");
    }
  }
}

struct Prepared {
  std::vector<std::string> paths;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<int> moved_fds;
  pid_t parent;
};

[[noreturn]] void become(const SpawnSpec& spec, Prepared& prepared, int report_fd) {
  reset_signals();
  if (::setsid() < 0) {
    give_up(report_fd, "setsid");
  }
  if (spec.network_namespace >= 0 && ::setns(spec.network_namespace, CLONE_NEWNET) != 0) {
    give_up(report_fd, "setns");
  }
  if (spec.private_network && ::unshare(CLONE_NEWNET) != 0) {
    give_up(report_fd, "unshare network");
  }
  const rlimit no_core{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &no_core);
  place_fds(spec.fds, prepared.moved_fds, report_fd);
  if (spec.user) {
    if (::setgroups(0, nullptr) != 0 || ::setgid(spec.user->second) != 0 || ::setuid(spec.user->first) != 0) {
      give_up(report_fd, "change user");
    }
  }
  if (::chdir(spec.cwd.empty() ? "/" : spec.cwd.c_str()) != 0) {  // with the user's rights
    give_up(report_fd, "chdir");
  }
  if (spec.die_with_parent) {
    // After setuid, which clears it. The parent may have gone before this line.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != prepared.parent) {
      give_up(report_fd, "PR_SET_PDEATHSIG");
    }
  }
  int last_errno = ENOENT;
  for (const auto& path : prepared.paths) {
    ::execve(path.c_str(), prepared.argv.data(), prepared.envp.data());
    if (errno != ENOENT && errno != ENOTDIR) {
      last_errno = errno;
    }
  }
  errno = last_errno;
  give_up(report_fd, "execve");
}

}  // namespace

Result<Forked> fork_program(const SpawnSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return Error{Errc::invalid_argument, "the command is empty"};
  }
  for (const auto& [number, fd] : spec.fds) {
    if (number < 0 || number >= first_free_fd || fd < 0) {
      return Error{Errc::invalid_argument, spec.argv.front() + ": descriptors 0 to 63 can be given to a child"};
    }
  }
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) {
    return errno_error("pipe2");
  }
  UniqueFd report_in(report[0]);
  const UniqueFd report_out(::fcntl(report[1], F_DUPFD_CLOEXEC, first_free_fd));
  ::close(report[1]);
  if (!report_out) {
    return errno_error("dup");
  }
  Prepared prepared{candidates(spec), pointers(spec.argv), pointers(spec.env), std::vector<int>(spec.fds.size()),
                    ::getpid()};
  const pid_t pid = ::fork();
  if (pid < 0) {
    return errno_error("fork");
  }
  if (pid == 0) {
    become(spec, prepared, report_out.get());
  }
  return Forked{pid, std::move(report_in)};
}

Result<void> read_report(const Forked& child, const std::string& program) {
  Failure failure;
  ssize_t bytes = 0;
  do {  // the wait is that of vfork: until execve or the child's report
    bytes = ::read(child.report.get(), &failure, sizeof failure);
  } while (bytes < 0 && errno == EINTR);
  if (bytes == 0) {
    return {};
  }
  return errno_error(std::string(failure.step.data()), failure.errno_value).with(program);
}

Result<pid_t> spawn(const SpawnSpec& spec) {
  const auto child = fork_program(spec);
  if (!child) {
    return child.error();
  }
  if (const auto started = read_report(*child, spec.argv.front()); !started) {
    (void)::waitpid(child->pid, nullptr, 0);
    return started.error();
  }
  return child->pid;
}

}  // namespace hal::process
