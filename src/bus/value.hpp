#pragma once

#include "base/unique_fd.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace hal::bus {

/** A D-Bus value of a type that no option has. */
struct OtherValue {
  std::string signature;
};

/** The value of one option, apart from the D-Bus library it came through. */
using Value = std::variant<bool, std::uint16_t, std::uint32_t, std::uint64_t, double, std::string,
                           std::vector<std::string>, std::map<std::string, std::string>, UniqueFd, OtherValue>;
using Values = std::map<std::string, Value>;

/** The value's D-Bus signature: "as". */
[[nodiscard]] std::string signature(const Value& value);

}  // namespace hal::bus
