#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

/** Which tools of an MCP server may be called, and with which arguments. Pure. */
namespace hal::policy {

/** Patterns of one list, arguments of one rule, bytes of one pattern or value, keys of one pointer: at most. */
inline constexpr std::size_t max_rules = 256;
inline constexpr std::size_t max_arguments = 16;
inline constexpr std::size_t max_pattern_bytes = 1024;
inline constexpr std::size_t max_pointer_keys = 32;

/** Whether all of `text` fits the pattern: `*` is any run of characters, `?` any one byte, all else itself. */
[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view text);

/** A condition on one place of a call's arguments. */
struct ArgumentRule {
  /** RFC 6901, as configured. */
  std::string pointer;
  /** JSON text: of a string, which is a pattern for strings; or of a number, true, false or null. */
  std::string value;

  friend bool operator==(const ArgumentRule&, const ArgumentRule&) = default;
};

/** Refuses calls of the tools that fit, if all the conditions hold; without conditions, every call. */
struct DenyRule {
  std::string tool;
  std::vector<ArgumentRule> arguments;

  friend bool operator==(const DenyRule&, const DenyRule&) = default;
};

/** What one place of the configuration says. */
struct ToolRules {
  /** Where it stands, for the sentence that refuses: "mcp.json: mcpServers.x.hal9000.tools". */
  std::string origin;
  /** Unset: all tools but the denied ones. */
  std::optional<std::vector<std::string>> allow;
  std::vector<DenyRule> deny;

  [[nodiscard]] bool empty() const { return !allow && deny.empty(); }
  friend bool operator==(const ToolRules&, const ToolRules&) = default;
};

/**
 * Reads {"allow": [PATTERN…], "deny": [PATTERN or {"tool": PATTERN, "arguments": {POINTER: VALUE…}}…]}, each member
 * optional. `path` leads to the object; errors (Errc::invalid_argument) begin with the path of what is wrong.
 */
[[nodiscard]] Result<ToolRules> read_tool_rules(const nlohmann::json& object, const std::string& path);
/** The same of a list of patterns, of tools or of servers. */
[[nodiscard]] Result<std::vector<std::string>> read_patterns(const nlohmann::json& list, const std::string& path);

/** As one JSON text, with the origin, and back; what to_text() did not make is Errc::protocol. */
[[nodiscard]] std::string to_text(const ToolRules& rules);
[[nodiscard]] Result<ToolRules> from_text(std::string_view text);

/**
 * Why a call is refused, for people; nothing if it may pass. `arguments` is valid JSON text, or empty. Of a member that
 * stands twice each value counts, and of an array that is pointed at each element.
 */
[[nodiscard]] std::optional<std::string> refusal(const ToolRules& rules, std::string_view tool,
                                                 std::string_view arguments);
/** Whether some call of the tool may pass, so that a list should have it. */
[[nodiscard]] bool may_be_listed(const ToolRules& rules, std::string_view tool);

}  // namespace hal::policy
