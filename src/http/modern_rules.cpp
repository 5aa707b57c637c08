#include "http/modern_rules.hpp"

#include "base/text.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

namespace hal::http {

namespace {

constexpr std::string_view annotation = "x-mcp-header";
/** Of all tools of one server that have such parameters, and of one tool. */
constexpr std::size_t max_tools = 1024;
constexpr std::size_t max_parameters = 64;
/** Of properties within properties. */
constexpr std::size_t max_depth = 16;
/** Of a client's text in an error. */
constexpr std::size_t told_bytes = 64;

int base64_digit(char c) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto at = digits.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/** RFC 4648, with padding and nothing beside. */
std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  const auto padding = text.ends_with("==") ? 2U : text.ends_with('=') ? 1U : 0U;
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const int digit = base64_digit(c);
    if (digit < 0) {
      return std::nullopt;
    }
    bits = (bits << 6U) | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> count) & 0xFFU);
    }
  }
  return out;
}

bool is_visible(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return (c >= 0x20 && c < 0x7F) || c == '\t'; });
}

/** RFC 9110, 5.6.2. */
bool is_token(std::string_view name) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           others.find(c) != std::string_view::npos;
  });
}

std::string shown(std::string_view text) {
  return text::printable(text, told_bytes);
}

/** Which member of params Mcp-Name repeats. */
std::string_view named(const jsonrpc::Envelope& request) {
  const auto method = request.method();
  if (method == "tools/call" || method == "prompts/get") {
    return request.name;
  }
  return method == "resources/read" ? request.uri : std::string_view();
}

std::optional<double> as_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
  return whole ? std::optional(value) : std::nullopt;
}

bool says_same(std::string_view decoded, std::string_view raw) {
  if (raw.starts_with('"')) {
    return decoded == jsonrpc::unescape(raw);
  }
  if (decoded == raw) {
    return true;
  }
  const auto one = as_number(decoded);
  const auto other = as_number(raw);
  return one && other && *one == *other;
}

}  // namespace

std::optional<std::string> decode_header_value(std::string_view value) {
  constexpr std::string_view begin = "=?base64?";
  constexpr std::string_view end = "?=";
  if (!is_visible(value)) {
    return std::nullopt;
  }
  if (value.size() < begin.size() + end.size() || !value.starts_with(begin) || !value.ends_with(end)) {
    return std::string(value);
  }
  return decode_base64(value.substr(begin.size(), value.size() - begin.size() - end.size()));
}

std::optional<std::string> header_mismatch(const Head& head, const jsonrpc::Envelope& request) {
  if (!head.mcp_method) {
    return "Mcp-Method header is required";
  }
  if (*head.mcp_method != request.method()) {
    return fmt::format("Mcp-Method names {}, the body {}", shown(*head.mcp_method), shown(request.method()));
  }
  const auto raw = named(request);
  if (!raw.starts_with('"')) {
    return std::nullopt;
  }
  if (!head.mcp_name) {
    return fmt::format("Mcp-Name header is required with {}", request.method());
  }
  const auto decoded = decode_header_value(*head.mcp_name);
  if (!decoded) {
    return "Mcp-Name is encoded wrongly";
  }
  if (const auto name = jsonrpc::unescape(raw); *decoded != name) {
    return fmt::format("Mcp-Name names {}, the body {}", shown(*decoded), shown(name));
  }
  return std::nullopt;
}

void ToolHeaders::learn(std::string_view result) {
  (void)jsonrpc::any_element(jsonrpc::member(result, "tools"), [this](std::string_view tool) {
    learn_tool(tool);
    return false;
  });
}

void ToolHeaders::learn_tool(std::string_view tool) {
  const auto name = jsonrpc::unescape(jsonrpc::member(tool, "name"));
  tools_.erase(name);
  const auto schema = jsonrpc::member(tool, "inputSchema");
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
  if (const auto raw = jsonrpc::member(schema, annotation); !raw.empty() && !path.empty()) {
    auto header = jsonrpc::unescape(raw);
    const auto type = jsonrpc::unescape(jsonrpc::member(schema, "type"));
    const bool is_double = std::any_of(found.begin(), found.end(),
                                       [&](const Parameter& other) { return equal_in_any_case(other.header, header); });
    if (!is_token(header) || is_double || found.size() >= max_parameters ||
        (type != "string" && type != "integer" && type != "boolean")) {
      return false;
    }
    found.push_back({std::move(header), path});
  }
  if (path.size() >= max_depth) {
    return true;
  }
  bool valid = true;
  jsonrpc::each_member_of(jsonrpc::member(schema, "properties"), [&](std::string_view key, std::string_view property) {
    if (property.find(annotation) != std::string_view::npos) {
      path.emplace_back(key);
      valid = collect(property, path, found) && valid;
      path.pop_back();
    }
  });
  return valid;
}

std::optional<std::string> ToolHeaders::mismatch(const Head& head, const jsonrpc::Envelope& call) const {
  const auto tool = tools_.find(jsonrpc::unescape(call.name));
  if (tool == tools_.end()) {
    return std::nullopt;
  }
  for (const auto& parameter : tool->second) {
    auto raw = call.arguments;
    for (const auto& key : parameter.path) {
      raw = jsonrpc::member(raw, key);
    }
    if (raw.empty() || raw == "null" || raw.starts_with('{') || raw.starts_with('[')) {
      continue;
    }
    const auto header = std::find_if(head.mcp_params.begin(), head.mcp_params.end(),
                                     [&](const auto& one) { return equal_in_any_case(one.first, parameter.header); });
    if (header == head.mcp_params.end()) {
      return fmt::format("Mcp-Param-{} header is required with these arguments", parameter.header);
    }
    const auto decoded = decode_header_value(header->second);
    if (!decoded) {
      return fmt::format("Mcp-Param-{} is encoded wrongly", parameter.header);
    }
    if (!says_same(*decoded, raw)) {
      return fmt::format("Mcp-Param-{} says {}, the arguments {}", parameter.header, shown(*decoded), shown(raw));
    }
  }
  return std::nullopt;
}

}  // namespace hal::http
