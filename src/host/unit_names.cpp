#include "host/unit_names.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace hal::host {

namespace {

constexpr std::string_view prefix = "hal9000-mcp-";
constexpr std::string_view suffix = ".service";
constexpr std::size_t instance_digits = 16;
constexpr std::string_view description_start = "HAL-9000 MCP server ";
constexpr std::string_view description_middle = ", configuration ";

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string unit_name(std::string_view server, InstanceId instance) {
  return fmt::format("{}{}-{:016x}{}", prefix, server, instance.value, suffix);
}

std::optional<UnitName> parse_unit_name(std::string_view name) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) {
    return std::nullopt;
  }
  name.remove_prefix(prefix.size());
  name.remove_suffix(std::min(suffix.size(), name.size()));
  if (name.size() < instance_digits + 2 || name[name.size() - instance_digits - 1] != '-') {
    return std::nullopt;
  }
  const auto digits = name.substr(name.size() - instance_digits);
  const auto server = name.substr(0, name.size() - instance_digits - 1);
  UnitName result{std::string(server), {}};
  if (!text::is_name(server) || !is_hex(digits)) {
    return std::nullopt;
  }
  (void)std::from_chars(digits.data(), digits.data() + digits.size(), result.instance.value, 16);
  return result;
}

std::string unit_description(std::string_view server, std::string_view fingerprint) {
  return fmt::format("{}{}{}{}", description_start, server, description_middle, fingerprint);
}

std::string parse_unit_description(std::string_view description) {
  const auto at = description.rfind(description_middle);
  if (!description.starts_with(description_start) || at == std::string_view::npos) {
    return {};
  }
  const auto fingerprint = description.substr(at + description_middle.size());
  return is_hex(fingerprint) ? std::string(fingerprint) : std::string();
}

}  // namespace hal::host
