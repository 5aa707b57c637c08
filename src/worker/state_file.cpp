#include "worker/state_file.hpp"

#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

namespace hal::worker {

namespace {

constexpr off_t max_bytes = off_t{1} << 20;

}  // namespace

Result<std::string> read_state_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return errno_error("open " + path);
  }
  if (!S_ISREG(status.st_mode) || status.st_size > max_bytes) {
    return Error{Errc::protocol, path + ": is no file of at most 1 MiB"};
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  if (::read(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return errno_error("read " + path);
  }
  return text;
}

Result<void> replace_state_file(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  const UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    return errno_error("open " + fresh);
  }
  // No fsync, which may hold up the loop for seconds: a power cut ends the container too, and an empty file is found.
  const bool written = ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::rename(fresh.c_str(), path.c_str()) == 0;
  if (!written) {
    const auto error = errno_error("write " + path);
    (void)::unlink(fresh.c_str());
    return error;
  }
  return {};
}

}  // namespace hal::worker
