#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

/** The daemon's small files of state. */
namespace hal::worker {

/** At most 1 MiB, which holds a worker's path, command line and environment. Not found if there is none. */
[[nodiscard]] Result<std::string> read_state_file(const std::string& path);
/** Only root can read it. The old one stays whole if this fails. */
[[nodiscard]] Result<void> replace_state_file(const std::string& path, std::string_view text);

}  // namespace hal::worker
