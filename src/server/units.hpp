#pragma once

#include "base/result.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>

/** Sizes and times as people write them. */
namespace hal::server {

/** "1048576", "512M", "1.5G": K, M, G and T are powers of 1024. */
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

/** "90", "90s", "500ms", "1.5min"; a bare number is seconds. */
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace hal::server
