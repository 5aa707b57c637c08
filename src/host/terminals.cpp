#include "host/terminals.hpp"

#include "base/unique_fd.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include <fmt/format.h>

namespace hal::host {

namespace {

std::uint64_t usec_of(const timespec& time) {
  return time.tv_sec > 0
             ? static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_nsec) / 1000
             : 0;
}

}  // namespace

std::uint64_t last_terminal_activity(pid_t container_pid) {
  const auto path = fmt::format("/proc/{}/root/dev/pts", container_pid);
  UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(folder ? ::fdopendir(folder.get()) : nullptr, ::closedir);
  if (!entries) {
    return 0;
  }
  (void)folder.release();  // now of `entries`
  std::uint64_t latest = 0;
  while (const dirent* entry = ::readdir(entries.get())) {
    struct stat status {};
    const bool is_terminal = entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    if (is_terminal && ::fstatat(::dirfd(entries.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISCHR(status.st_mode)) {
      latest = std::max({latest, usec_of(status.st_atim), usec_of(status.st_mtim)});
    }
  }
  return latest;
}

}  // namespace hal::host
