#pragma once

#include <string>
#include <string_view>

namespace hal::host {

/**
 * The path of hal9000.slice among the control groups, which systemd need not have at their top: the one that the
 * process with this /proc/PID/cgroup is in, else "/hal9000.slice".
 */
[[nodiscard]] std::string slice_path(std::string_view process_cgroup);

/** The same of this process. */
[[nodiscard]] std::string slice_path();

}  // namespace hal::host
