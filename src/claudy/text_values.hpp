#pragma once

#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

/** How people write and read values on the command line. Pure. */
namespace hal::claudy {

/** "4G", "512M", "1.5GiB", "1048576": bytes, units are powers of 1024. */
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

/** "10" (seconds), "1.5s", "250ms", "2m", "1h". */
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);

/** "2", "0.5": more than 0. */
[[nodiscard]] Result<double> parse_cpus(std::string_view text);

/** "4.0G", "512.0M", "17B" */
[[nodiscard]] std::string format_size(std::uint64_t bytes);

/** How long ago that was: "3s", "5m", "2h", "9d"; microseconds since the epoch, 0 gives "-". */
[[nodiscard]] std::string format_age(std::uint64_t then_usec, std::uint64_t now_usec);

/** A D-Bus property's name as a JSON key: "MemoryMax" -> "memory_max", "CreatedUSec" -> "created_usec". */
[[nodiscard]] std::string snake_case(std::string_view name);

}  // namespace hal::claudy
