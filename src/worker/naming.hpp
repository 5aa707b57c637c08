#pragma once

#include <string>
#include <string_view>

namespace hal::worker {

/** The name of the worker of a directory: `<basename>-<8 hex of SHA-256 of the path>`, fit for a host name. */
[[nodiscard]] std::string default_name(std::string_view real_path);

/** 8 hexadecimal digits of the SHA-256 of a text. */
[[nodiscard]] std::string short_digest(std::string_view text);

}  // namespace hal::worker
