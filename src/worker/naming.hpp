#pragma once

#include <string>
#include <string_view>

namespace hal::worker {

/** The name of the worker of a directory: `<basename>-<8 hex of SHA-256 of the path>`, fit for a host name. */
[[nodiscard]] std::string default_name(std::string_view real_path);

}  // namespace hal::worker
