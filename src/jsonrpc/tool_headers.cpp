#include "jsonrpc/tool_headers.hpp"

#include "base/text.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <utility>

namespace hal::jsonrpc {

namespace {

constexpr std::string_view annotation = "x-mcp-header";
/** Of all tools of one server that have such parameters, and of one tool. */
constexpr std::size_t max_tools = 1024;
constexpr std::size_t max_parameters = 64;
/** Of properties within properties. */
constexpr std::size_t max_levels = 16;

/** RFC 9110, 5.6.2. */
bool is_token(std::string_view name) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           others.find(c) != std::string_view::npos;
  });
}

}  // namespace

void ToolHeaders::learn(std::string_view result) {
  (void)any_element(member(result, "tools"), [this](std::string_view tool) {
    learn_tool(tool);
    return false;
  });
}

void ToolHeaders::learn_tool(std::string_view tool) {
  const auto name = unescape(member(tool, "name"));
  tools_.erase(name);
  const auto schema = member(tool, "inputSchema");
  if (schema.find(annotation) == std::string_view::npos || tools_.size() >= max_tools) {
    return;
  }
  std::vector<std::string> path;
  std::vector<Parameter> found;
  if (collect(schema, path, found) && !found.empty()) {
    tools_.emplace(name, std::move(found));
  }
}

/** Through properties of properties only: what stands elsewhere is no annotation that a client could follow. */
bool ToolHeaders::collect(std::string_view schema, std::vector<std::string>& path, std::vector<Parameter>& found) {
  if (const auto raw = member(schema, annotation); !raw.empty() && !path.empty()) {
    auto header = unescape(raw);
    const auto type = unescape(member(schema, "type"));
    const bool is_double = std::any_of(found.begin(), found.end(), [&](const Parameter& other) {
      return text::equal_in_any_case(other.header, header);
    });
    if (!is_token(header) || is_double || found.size() >= max_parameters ||
        (type != "string" && type != "integer" && type != "boolean")) {
      return false;
    }
    found.push_back({std::move(header), path});
  }
  if (path.size() >= max_levels) {
    return true;
  }
  bool valid = true;
  each_member_of(member(schema, "properties"), [&](std::string_view key, std::string_view property) {
    if (property.find(annotation) != std::string_view::npos) {
      path.emplace_back(key);
      valid = collect(property, path, found) && valid;
      path.pop_back();
    }
  });
  return valid;
}

std::vector<ToolHeaders::Value> ToolHeaders::values(const Envelope& call) const {
  std::vector<Value> found;
  const auto tool = tools_.empty() ? tools_.end() : tools_.find(unescape(call.name));
  if (tool == tools_.end()) {
    return found;
  }
  for (const auto& parameter : tool->second) {
    auto raw = call.arguments;
    for (const auto& key : parameter.path) {
      raw = member(raw, key);
    }
    if (!raw.empty() && raw != "null" && !raw.starts_with('{') && !raw.starts_with('[')) {
      found.push_back({parameter.header, raw});
    }
  }
  return found;
}

}  // namespace hal::jsonrpc
