#pragma once

#include <sys/types.h>

#include <cstdint>

namespace hal::host {

/**
 * When bytes last went through any terminal of the container whose PID 1 this is, by either way: microseconds since the
 * epoch, 0 where that cannot be told. The kernel keeps it in the terminals' times, to 8 s; `w` shows the same.
 */
[[nodiscard]] std::uint64_t last_terminal_activity(pid_t container_pid);

}  // namespace hal::host
