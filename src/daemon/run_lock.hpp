#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <string>

namespace hal::daemon {

/**
 * Makes `run_dir` where it is missing and takes it for this process, until the descriptor is closed or the process
 * ends, however it ends. Two daemons on one folder would take each other's sockets and workers. If another process has
 * it: Errc::already_exists, with the folder and, where known, the process.
 */
[[nodiscard]] Result<UniqueFd> lock_run_dir(const std::string& run_dir);

}  // namespace hal::daemon
