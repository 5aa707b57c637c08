#pragma once

#include "base/result.hpp"

#include <map>
#include <string>
#include <string_view>

namespace hal::server {

/**
 * Replaces ${NAME} by its value and ${NAME:-default} by its value or, where it has none or an empty one, by `default`,
 * as Claude Code does in .mcp.json. Values are not expanded again. Errc::invalid_argument for a name without value.
 */
[[nodiscard]] Result<std::string> expand(std::string_view text, const std::map<std::string, std::string>& variables);

/** The same for the member at `path` of a configuration, which the error names; no zero bytes, at most 64 KiB. */
[[nodiscard]] Result<std::string> expand_member(std::string_view text, const std::string& path,
                                                const std::map<std::string, std::string>& variables);

}  // namespace hal::server
