#include "policy/grant.hpp"

#include "base/text.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::policy {

bool Grant::may_use(std::string_view server) const {
  return !servers || std::any_of(servers->begin(), servers->end(),
                                 [server](const std::string& pattern) { return glob_matches(pattern, server); });
}

Result<void> read_grant_tools(const nlohmann::json& object, const std::string& file, const std::string& path,
                              Grant& grant) {
  if (!object.is_object() || object.size() > max_rules) {
    return Error{Errc::invalid_argument,
                 fmt::format("{}: must be a table of at most {} names or patterns of servers", path, max_rules)};
  }
  for (const auto& [server, value] : object.items()) {
    const auto place = fmt::format("{}.{}", path, text::printable(server));
    if (server.empty() || server.size() > max_pattern_bytes) {
      return Error{Errc::invalid_argument, place + ": is no name or pattern of servers"};
    }
    auto rules = read_tool_rules(value, place);
    if (!rules) {
      return rules.error();
    }
    rules->origin = fmt::format("{}: {}", file, place);
    const auto same = std::find_if(grant.tools.begin(), grant.tools.end(),
                                   [&server = server](const auto& entry) { return entry.first == server; });
    if (same != grant.tools.end()) {
      same->second = std::move(*rules);
    } else {
      grant.tools.emplace_back(server, std::move(*rules));
    }
  }
  return {};
}

}  // namespace hal::policy
