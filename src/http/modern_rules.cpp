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

std::optional<std::string> header_mismatch(const Head& head, const jsonrpc::ToolHeaders& tools,
                                           const jsonrpc::Envelope& call) {
  for (const auto& [name, raw] : tools.values(call)) {
    const auto header = std::find_if(head.mcp_params.begin(), head.mcp_params.end(),
                                     [&](const auto& one) { return text::equal_in_any_case(one.first, name); });
    if (header == head.mcp_params.end()) {
      return fmt::format("Mcp-Param-{} header is required with these arguments", name);
    }
    const auto decoded = decode_header_value(header->second);
    if (!decoded) {
      return fmt::format("Mcp-Param-{} is encoded wrongly", name);
    }
    if (!says_same(*decoded, raw)) {
      return fmt::format("Mcp-Param-{} says {}, the arguments {}", name, shown(*decoded), shown(raw));
    }
  }
  return std::nullopt;
}

}  // namespace hal::http
