#pragma once

#include <string>
#include <string_view>

namespace hal::host {

/**
 * The process the kernel last killed because this container had reached its limit of memory, by name, from the kernel's
 * log; empty if the log does not say. Nobody else knows: the parent of the process reaps it, and that is seldom PID 1.
 */
[[nodiscard]] std::string memory_victim(std::string_view kernel_log, std::string_view container);

/** What the kernel says, once in a control group's life, when it refuses a fork for a limit of tasks. */
inline constexpr std::string_view fork_refusal = "fork rejected by pids controller";

/** The newest part of the kernel's log; empty where we may not read it (CAP_SYSLOG). */
[[nodiscard]] std::string read_kernel_log();

}  // namespace hal::host
