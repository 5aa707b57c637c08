#pragma once

#include "base/result.hpp"
#include "bus/value.hpp"

#include <map>
#include <string>

#include <sdbus-c++/Types.h>

namespace hal::bus {

/**
 * The options of a call apart from the D-Bus library. Errc::limit for more than any method has; throws sdbus::Error
 * where the library cannot read what it checked before.
 */
[[nodiscard]] Result<Values> to_values(const std::map<std::string, sdbus::Variant>& options);

}  // namespace hal::bus
