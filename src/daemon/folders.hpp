#pragma once

#include "daemon/config.hpp"

namespace hal::daemon {

/** Makes what tmpfiles.d makes on an installed system, for all others; throws std::system_error. */
const Places& with_folders(const Places& places);

}  // namespace hal::daemon
