#pragma once

#include "policy/tools.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::policy {

/** Which servers may be used, and which of their tools: what a profile or an owner gives to workers. */
struct Grant {
  /** Patterns; unset: all servers. */
  std::optional<std::vector<std::string>> servers;
  /** By pattern of the servers' names; all that fit count. */
  std::vector<std::pair<std::string, ToolRules>> tools;

  [[nodiscard]] bool may_use(std::string_view server) const;
};

/**
 * Reads {PATTERN of servers: rules as read_tool_rules() has them, …} into the grant; a pattern that is there already
 * gets the new rules. `path` is for errors, and each rule's origin with `file` before it.
 */
[[nodiscard]] Result<void> read_grant_tools(const nlohmann::json& object, const std::string& file,
                                            const std::string& path, Grant& grant);

}  // namespace hal::policy
