#pragma once

#include "base/latency.hpp"
#include "base/result.hpp"
#include "bus/value.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <sdbus-c++/Types.h>

namespace hal::bus {

/**
 * The options of a call apart from the D-Bus library. Errc::limit for more than any method has; throws sdbus::Error
 * where the library cannot read what it checked before.
 */
[[nodiscard]] Result<Values> to_values(const std::map<std::string, sdbus::Variant>& options);

/** An upper bound in microseconds, and how many took less than it and no less than the bound before. */
using LatencyBucket = sdbus::Struct<std::uint64_t, std::uint64_t>;
/** Without the empty ones at the end. */
[[nodiscard]] std::vector<LatencyBucket> to_buckets(const Latency& latency);

}  // namespace hal::bus
