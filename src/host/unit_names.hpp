#pragma once

#include "base/strong_id.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace hal::host {

struct UnitName {
  std::string server;
  InstanceId instance;
};

/** hal9000-mcp-SERVER-<16 hexadecimal digits>.service */
[[nodiscard]] std::string unit_name(std::string_view server, InstanceId instance);
/** Nothing for a name that is not one of those. */
[[nodiscard]] std::optional<UnitName> parse_unit_name(std::string_view name);
/** Matches all of them, for ListUnitsByPatterns. */
inline constexpr const char unit_pattern[] = "hal9000-mcp-*.service";

/** A unit's Description, which carries the fingerprint of its configuration to a later daemon. */
[[nodiscard]] std::string unit_description(std::string_view server, std::string_view fingerprint);
/** Empty if there is none. */
[[nodiscard]] std::string parse_unit_description(std::string_view description);

}  // namespace hal::host
