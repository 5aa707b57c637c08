#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hal {

/** How long something took, often. Counts by powers of two; adding takes no memory and no time worth mentioning. */
struct Latency {
  static constexpr std::size_t buckets = 24;
  /** Bucket i has what took less than bound_usec(i), and no less than the bound before; the last one all else. */
  [[nodiscard]] static constexpr std::uint64_t bound_usec(std::size_t bucket) {
    return bucket + 1 < buckets ? std::uint64_t{16} << bucket : UINT64_MAX;
  }

  void add(std::chrono::nanoseconds time) {
    const auto usec = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
    ++counts[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(usec >> 4)), buckets - 1)];
  }

  Latency& operator+=(const Latency& other) {
    for (std::size_t i = 0; i < buckets; ++i) {
      counts[i] += other.counts[i];
    }
    return *this;
  }

  std::array<std::uint64_t, buckets> counts{};

  template <class Archive>
  void keep(Archive& archive) {
    archive(counts);
  }
};

}  // namespace hal
