#include "policy/tools.hpp"

#include "jsonrpc/envelope.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace hal::policy {

namespace {

bool any_matches(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [text](const std::string& pattern) { return glob_matches(pattern, text); });
}

std::optional<double> number_of(std::string_view raw) {
  double value = 0;
  const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  return error == std::errc() && end == raw.data() + raw.size() ? std::optional(value) : std::nullopt;
}

/** Both raw JSON text. */
bool value_matches(std::string_view rule, std::string_view value) {
  if (rule.front() == '"') {
    return value.front() == '"' && glob_matches(jsonrpc::unescape(rule), jsonrpc::unescape(value));
  }
  const auto number = number_of(rule);
  return number ? number == number_of(value) : rule == value;
}

bool holds(const ArgumentRule& rule, std::string_view arguments) {
  return jsonrpc::any_at(arguments, rule.pointer, [&rule](std::string_view value) {
    return value_matches(rule.value, value) ||
           (value.front() == '[' && jsonrpc::any_element(value, [&rule](std::string_view element) {
              return value_matches(rule.value, element);
            }));
  });
}

bool refuses(const DenyRule& rule, std::string_view tool, std::string_view arguments) {
  return glob_matches(rule.tool, tool) &&
         std::all_of(rule.arguments.begin(), rule.arguments.end(),
                     [&](const ArgumentRule& argument) { return holds(argument, arguments); });
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t at = 0;
  std::size_t in = 0;
  // Where to go on when what follows the last star does not fit: one byte more for that star.
  std::size_t after_star = std::string_view::npos;
  std::size_t star_end = 0;
  while (in < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      after_star = ++at;
      star_end = in;
    } else if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == text[in])) {
      ++at;
      ++in;
    } else if (after_star != std::string_view::npos) {
      at = after_star;
      in = ++star_end;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == std::string_view::npos;
}

std::optional<std::string> refusal(const ToolRules& rules, std::string_view tool, std::string_view arguments) {
  if (rules.allow && !any_matches(*rules.allow, tool)) {
    return fmt::format("{}.allow does not name it", rules.origin);
  }
  for (std::size_t i = 0; i < rules.deny.size(); ++i) {
    if (refuses(rules.deny[i], tool, arguments.empty() ? "{}" : arguments)) {
      return fmt::format("{}.deny[{}] refuses {}", rules.origin, i,
                         rules.deny[i].arguments.empty() ? "it" : "it with these arguments");
    }
  }
  return std::nullopt;
}

bool may_be_listed(const ToolRules& rules, std::string_view tool) {
  return (!rules.allow || any_matches(*rules.allow, tool)) &&
         std::none_of(rules.deny.begin(), rules.deny.end(),
                      [tool](const DenyRule& rule) { return rule.arguments.empty() && glob_matches(rule.tool, tool); });
}

}  // namespace hal::policy
