#pragma once

#include "base/result.hpp"
#include "guard/rules.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

/** `hal9000-mcp guard`: what Claude Code in a worker asks before it uses a tool (its hook PreToolUse). */
namespace hal::guard {

/** A file that is to be written comes whole. */
inline constexpr std::size_t max_input_bytes = std::size_t{64} << 20;

/**
 * Why the tool should not be used as the hook's input, a JSON object, says; nothing if it may. Knows the tools that run
 * commands and that take paths. Errors: protocol for what is no such input, limit for what is too large. Looks where
 * links lead to, and does nothing else.
 */
[[nodiscard]] Result<std::optional<std::string>> objection_to_tool(std::string_view input, const Guards& guards);

/** What a hook prints to refuse a tool; `reason` is for the model to read. */
[[nodiscard]] std::string refusal(std::string_view reason);

}  // namespace hal::guard
