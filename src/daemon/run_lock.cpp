#include "daemon/run_lock.hpp"

#include "base/text.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include <fmt/format.h>

namespace hal::daemon {

namespace {

/** Who holds the lock, as the holder wrote it; empty in the moment before it has written. */
std::string holder(int fd) {
  char buffer[32];
  const ssize_t bytes = ::pread(fd, buffer, sizeof buffer, 0);
  const auto pid =
      text::to_number<pid_t>(text::trim(std::string_view(buffer, bytes > 0 ? static_cast<std::size_t>(bytes) : 0)));
  return pid ? fmt::format(" (process {})", *pid) : "";
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
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK
               ? Error{Errc::already_exists, fmt::format("{}: another hal9000d{} serves it", run_dir, holder(fd.get()))}
               : errno_error("lock " + path);
  }
  const auto line = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) != 0 ||
      ::write(fd.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return errno_error("write " + path);
  }
  return fd;
}

}  // namespace hal::daemon
