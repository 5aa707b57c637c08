#include "base/text.hpp"
#include "json/json.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::json {

namespace {

using nlohmann::json;

std::string path_of(std::string_view where, std::string_view key) {
  return where.empty() ? text::printable(key) : fmt::format("{}.{}", where, text::printable(key));
}

Error wrong(const std::string& path, std::string_view what) {
  return {Errc::protocol, fmt::format("{}: {}", path, what)};
}

/** The member where it is present and not null; null where it is absent; an error where `object` is no object. */
Result<const json*> member(const json& object, std::string_view key, std::string_view where) {
  if (!object.is_object()) {
    return wrong(where.empty() ? "the document" : std::string(where), "must be an object");
  }
  const json* found = find(object, key);
  return found != nullptr && found->is_null() ? nullptr : found;
}

/** How each type is read from a present member; the text is what the error says. */
struct AsString {
  using Value = std::string;
  static constexpr auto expected = "must be a string";
  static std::optional<Value> read(const json& value) {
    const auto* text = value.get_ptr<const json::string_t*>();
    return text != nullptr ? std::optional(*text) : std::nullopt;
  }
};
struct AsUnsigned {
  using Value = std::uint64_t;
  static constexpr auto expected = "must be a non-negative integer";
  static std::optional<Value> read(const json& value) {
    if (const auto* number = value.get_ptr<const json::number_unsigned_t*>(); number != nullptr) {
      return *number;
    }
    const auto* number = value.get_ptr<const json::number_integer_t*>();
    return number != nullptr && *number >= 0 ? std::optional(static_cast<Value>(*number)) : std::nullopt;
  }
};
struct AsInteger {
  using Value = std::int64_t;
  static constexpr auto expected = "must be an integer";
  static std::optional<Value> read(const json& value) {
    if (const auto* number = value.get_ptr<const json::number_unsigned_t*>(); number != nullptr) {
      constexpr auto max = static_cast<std::uint64_t>(std::numeric_limits<Value>::max());
      return *number <= max ? std::optional(static_cast<Value>(*number)) : std::nullopt;
    }
    const auto* number = value.get_ptr<const json::number_integer_t*>();
    return number != nullptr ? std::optional<Value>(*number) : std::nullopt;
  }
};
struct AsNumber {
  using Value = double;
  static constexpr auto expected = "must be a number";
  static std::optional<Value> read(const json& value) {
    return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
  }
};
struct AsBool {
  using Value = bool;
  static constexpr auto expected = "must be true or false";
  static std::optional<Value> read(const json& value) {
    const auto* flag = value.get_ptr<const json::boolean_t*>();
    return flag != nullptr ? std::optional(*flag) : std::nullopt;
  }
};
struct AsObject {
  using Value = const json*;
  static constexpr auto expected = "must be an object";
  static std::optional<Value> read(const json& value) {
    return value.is_object() ? std::optional<Value>(&value) : std::nullopt;
  }
};
struct AsArray {
  using Value = const json*;
  static constexpr auto expected = "must be an array";
  static std::optional<Value> read(const json& value) {
    return value.is_array() ? std::optional<Value>(&value) : std::nullopt;
  }
};

template <class As>
Result<std::optional<typename As::Value>> read_optional(const json& object, std::string_view key,
                                                        std::string_view where) {
  const auto found = member(object, key, where);
  if (!found) {
    return found.error();
  }
  if (*found == nullptr) {
    return std::optional<typename As::Value>{};
  }
  auto value = As::read(**found);
  if (!value) {
    return wrong(path_of(where, key), As::expected);
  }
  return value;
}

template <class As>
Result<typename As::Value> read(const json& object, std::string_view key, std::string_view where) {
  auto value = read_optional<As>(object, key, where);
  if (!value) {
    return value.error();
  }
  if (!*value) {
    return wrong(path_of(where, key), "is missing");
  }
  return std::move(**value);
}

template <class As>
Result<const json*> read_optional_pointer(const json& object, std::string_view key, std::string_view where) {
  const auto value = read_optional<As>(object, key, where);
  if (!value) {
    return value.error();
  }
  return value->value_or(nullptr);
}

Result<std::vector<std::string>> all_strings(const json& array, const std::string& path) {
  std::vector<std::string> strings;
  for (const auto& value : array) {
    const auto* text = value.get_ptr<const json::string_t*>();
    if (text == nullptr) {
      return wrong(fmt::format("{}[{}]", path, strings.size()), "must be a string");
    }
    strings.push_back(*text);
  }
  return strings;
}

}  // namespace

Result<std::string> string_at(const json& object, std::string_view key, std::string_view where) {
  return read<AsString>(object, key, where);
}
Result<std::uint64_t> unsigned_at(const json& object, std::string_view key, std::string_view where) {
  return read<AsUnsigned>(object, key, where);
}
Result<std::int64_t> integer_at(const json& object, std::string_view key, std::string_view where) {
  return read<AsInteger>(object, key, where);
}
Result<double> number_at(const json& object, std::string_view key, std::string_view where) {
  return read<AsNumber>(object, key, where);
}
Result<bool> bool_at(const json& object, std::string_view key, std::string_view where) {
  return read<AsBool>(object, key, where);
}
Result<const json*> object_at(const json& object, std::string_view key, std::string_view where) {
  return read<AsObject>(object, key, where);
}
Result<const json*> array_at(const json& object, std::string_view key, std::string_view where) {
  return read<AsArray>(object, key, where);
}

Result<std::vector<std::string>> strings_at(const json& object, std::string_view key, std::string_view where) {
  const auto array = read<AsArray>(object, key, where);
  if (!array) {
    return array.error();
  }
  return all_strings(**array, path_of(where, key));
}

Result<std::optional<std::string>> optional_string_at(const json& object, std::string_view key,
                                                      std::string_view where) {
  return read_optional<AsString>(object, key, where);
}
Result<std::optional<std::uint64_t>> optional_unsigned_at(const json& object, std::string_view key,
                                                          std::string_view where) {
  return read_optional<AsUnsigned>(object, key, where);
}
Result<std::optional<std::int64_t>> optional_integer_at(const json& object, std::string_view key,
                                                        std::string_view where) {
  return read_optional<AsInteger>(object, key, where);
}
Result<std::optional<double>> optional_number_at(const json& object, std::string_view key, std::string_view where) {
  return read_optional<AsNumber>(object, key, where);
}
Result<std::optional<bool>> optional_bool_at(const json& object, std::string_view key, std::string_view where) {
  return read_optional<AsBool>(object, key, where);
}

Result<std::vector<std::string>> optional_strings_at(const json& object, std::string_view key, std::string_view where) {
  const auto array = read_optional<AsArray>(object, key, where);
  if (!array) {
    return array.error();
  }
  if (!*array) {
    return std::vector<std::string>{};
  }
  return all_strings(***array, path_of(where, key));
}

Result<const json*> optional_object_at(const json& object, std::string_view key, std::string_view where) {
  return read_optional_pointer<AsObject>(object, key, where);
}
Result<const json*> optional_array_at(const json& object, std::string_view key, std::string_view where) {
  return read_optional_pointer<AsArray>(object, key, where);
}

const json* find(const json& object, std::string_view key) {
  const auto found = object.find(key);
  return found != object.end() ? &*found : nullptr;
}

Result<void> only_keys(const json& object, std::initializer_list<std::string_view> keys, std::string_view where) {
  if (!object.is_object()) {
    return wrong(where.empty() ? "the document" : std::string(where), "must be an object");
  }
  for (auto member = object.begin(); member != object.end(); ++member) {
    if (std::find(keys.begin(), keys.end(), member.key()) == keys.end()) {
      return wrong(path_of(where, member.key()), "is no known key");
    }
  }
  return {};
}

}  // namespace hal::json
