#include "daemon/run_lock.hpp"

#include "base/text.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace hal::daemon {

namespace {

/** Who holds the lock, as the holder wrote it; nobody in the moment before it has written. */
std::optional<pid_t> holder(int fd) {
  char buffer[32];
  const ssize_t bytes = ::pread(fd, buffer, sizeof buffer, 0);
  return text::to_number<pid_t>(text::trim(std::string_view(buffer, bytes > 0 ? static_cast<std::size_t>(bytes) : 0)));
}

/**
 * A daemon that is killed while it forks leaves the lock with a child, which closes it or is killed in the next moment:
 * that is waited for, a living daemon is not. Returns errno, or 0.
 */
int lock(int fd) {
  constexpr int attempts = 200;
  constexpr timespec pause{0, 10'000'000};
  for (int i = 0; ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++i) {
    const int error = errno;
    const auto pid = error == EWOULDBLOCK ? holder(fd) : std::nullopt;
    if (i == attempts || !pid || ::kill(*pid, 0) == 0 || errno != ESRCH) {
      return error;
    }
    (void)::nanosleep(&pause, nullptr);
  }
  return 0;
}

}  // namespace

Result<UniqueFd> lock_run_dir(const std::string& run_dir) {
  if (::mkdir(run_dir.c_str(), 0755) != 0 && errno != EEXIST) {
    return errno_error("mkdir " + run_dir);
  }
  const std::string path = run_dir + "/hal9000d.lock";
  // Ours alone: whoever may open a file may lock it.
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    return errno_error("open " + path);
  }
  if (const int error = lock(fd.get()); error == EWOULDBLOCK) {
    const auto pid = holder(fd.get());
    return Error{Errc::already_exists, fmt::format("{}: another hal9000d{} serves it", run_dir,
                                                   pid ? fmt::format(" (process {})", *pid) : "")};
  } else if (error != 0) {
    return errno_error("lock " + path, error);
  }
  const auto line = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return errno_error("write " + path);
  }
  return fd;
}

}  // namespace hal::daemon
