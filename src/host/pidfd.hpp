#pragma once

#include "base/unique_fd.hpp"

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace hal::host {

/** Names the process for as long as it is open, whoever gets its number later; invalid if there is none, see errno. */
[[nodiscard]] inline UniqueFd open_pidfd(pid_t pid) {
  // glibc 2.36 declares pidfd_open without C linkage.
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

}  // namespace hal::host
