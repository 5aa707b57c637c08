#pragma once

#include "base/result.hpp"
#include "claudy/bus.hpp"
#include "claudy/options.hpp"

namespace hal::claudy {

/** Installs and waits for the end; what is empty stays as an earlier installation has it. */
[[nodiscard]] Result<void> install_and_wait(Bus& bus, const ServerInstallOptions& options);

}  // namespace hal::claudy
