#include "base/text.hpp"
#include "json/json.hpp"
#include "policy/tools.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::policy {

namespace {

using Json = nlohmann::json;

Error at(std::string_view path, std::string_view problem) {
  return {Errc::invalid_argument, fmt::format("{}: {}", path, problem)};
}

Error of_reader(const Error& error) {
  return {Errc::invalid_argument, error.message};
}

Result<std::string> read_pattern(const Json& value, const std::string& path) {
  const auto* text = value.get_ptr<const std::string*>();
  if (text == nullptr) {
    return at(path, "must be a string, in which * stands for any characters and ? for one");
  }
  if (text->empty() || text->size() > max_pattern_bytes) {
    return at(path, fmt::format("must have 1 to {} bytes", max_pattern_bytes));
  }
  return *text;
}

/** Whether it is a pointer of RFC 6901 to something inside of the arguments. */
bool is_pointer(std::string_view text) {
  if (!text.starts_with('/') || text.size() > max_pattern_bytes ||
      static_cast<std::size_t>(std::count(text.begin(), text.end(), '/')) > max_pointer_keys) {
    return false;
  }
  for (auto tilde = text.find('~'); tilde != std::string_view::npos; tilde = text.find('~', tilde + 1)) {
    const auto next = text.substr(tilde + 1, 1);
    if (next != "0" && next != "1") {
      return false;
    }
  }
  return true;
}

Result<void> read_arguments(const Json& object, const std::string& path, DenyRule& rule) {
  if (!object.is_object() || object.empty() || object.size() > max_arguments) {
    return at(path, fmt::format("must be an object with 1 to {} JSON pointers", max_arguments));
  }
  for (const auto& [pointer, value] : object.items()) {
    const auto place = fmt::format("{}[\"{}\"]", path, text::printable(pointer));
    if (!is_pointer(pointer)) {
      return at(place, "is no JSON pointer (RFC 6901) into the arguments, like \"/path\" or \"/options/0/name\"");
    }
    if (value.is_structured()) {
      return at(place, "must be a string, a number, true, false or null");
    }
    auto text = json::dump(value);
    if (text.size() > max_pattern_bytes) {
      return at(place, fmt::format("has more than {} bytes", max_pattern_bytes));
    }
    rule.arguments.push_back({pointer, std::move(text)});
  }
  return {};
}

Result<DenyRule> read_deny(const Json& value, const std::string& path) {
  DenyRule rule;
  if (!value.is_object()) {
    auto pattern = value.is_string() ? read_pattern(value, path)
                                     : at(path, "must be a pattern, or an object with \"tool\" and \"arguments\"");
    if (!pattern) {
      return pattern.error();
    }
    rule.tool = std::move(*pattern);
    return rule;
  }
  if (const auto known = json::only_keys(value, {"tool", "arguments"}, path); !known) {
    return of_reader(known.error());
  }
  const auto* tool = json::find(value, "tool");
  auto pattern = tool != nullptr ? read_pattern(*tool, path + ".tool") : at(path + ".tool", "is missing");
  if (!pattern) {
    return pattern.error();
  }
  rule.tool = std::move(*pattern);
  if (const auto* arguments = json::find(value, "arguments"); arguments != nullptr) {
    if (auto read = read_arguments(*arguments, path + ".arguments", rule); !read) {
      return read.error();
    }
  }
  return rule;
}

Result<void> check_list(const Json& list, const std::string& path) {
  if (!list.is_array()) {
    return at(path, "must be an array");
  }
  return list.size() <= max_rules ? Result<void>() : at(path, fmt::format("has more than {} entries", max_rules));
}

}  // namespace

Result<std::vector<std::string>> read_patterns(const Json& list, const std::string& path) {
  if (auto checked = check_list(list, path); !checked) {
    return checked.error();
  }
  std::vector<std::string> patterns;
  for (const auto& value : list) {
    auto pattern = read_pattern(value, fmt::format("{}[{}]", path, patterns.size()));
    if (!pattern) {
      return pattern.error();
    }
    patterns.push_back(std::move(*pattern));
  }
  return patterns;
}

Result<ToolRules> read_tool_rules(const Json& object, const std::string& path) {
  ToolRules rules;
  if (!object.is_object()) {
    return at(path, "must be an object");
  }
  if (const auto known = json::only_keys(object, {"allow", "deny"}, path); !known) {
    return of_reader(known.error());
  }
  if (const auto* allow = json::find(object, "allow"); allow != nullptr) {
    auto patterns = read_patterns(*allow, path + ".allow");
    if (!patterns) {
      return patterns.error();
    }
    rules.allow = std::move(*patterns);
  }
  if (const auto* deny = json::find(object, "deny"); deny != nullptr) {
    if (auto checked = check_list(*deny, path + ".deny"); !checked) {
      return checked.error();
    }
    for (const auto& value : *deny) {
      auto rule = read_deny(value, fmt::format("{}.deny[{}]", path, rules.deny.size()));
      if (!rule) {
        return rule.error();
      }
      rules.deny.push_back(std::move(*rule));
    }
  }
  return rules;
}

std::string to_text(const ToolRules& rules) {
  Json object{{"origin", rules.origin}, {"rules", Json::object()}};
  auto& own = object["rules"];
  if (rules.allow) {
    own["allow"] = *rules.allow;
  }
  for (const auto& rule : rules.deny) {
    Json entry{{"tool", rule.tool}};
    for (const auto& argument : rule.arguments) {
      entry["arguments"][argument.pointer] = json::parse(argument.value).value_or(nullptr);
    }
    own["deny"].push_back(std::move(entry));
  }
  return json::dump(object);
}

Result<ToolRules> from_text(std::string_view text) {
  const auto object = json::parse(text);
  if (!object) {
    return object.error();
  }
  auto origin = json::string_at(*object, "origin");
  const auto own = json::object_at(*object, "rules");
  if (!origin || !own) {
    return !origin ? origin.error() : own.error();
  }
  auto rules = read_tool_rules(**own, "rules");
  if (!rules) {
    return Error{Errc::protocol, rules.error().message};
  }
  rules->origin = std::move(*origin);
  return rules;
}

}  // namespace hal::policy
