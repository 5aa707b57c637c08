#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hal::link {

/** How long answers took. Counts by powers of two; adding takes no memory and no time worth mentioning. */
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

  std::array<std::uint64_t, buckets> counts{};

  template <class Archive>
  void keep(Archive& archive) {
    archive(counts);
  }
};

/** What has passed between workers and one server, or in one session of it. */
struct Traffic {
  std::uint64_t requests = 0;
  /** Requests that ended in an error of the protocol. */
  std::uint64_t errors = 0;
  /** Of the requests: tools/call. */
  std::uint64_t calls = 0;
  /** Of the calls: refused by a rule, and never sent to the server. */
  std::uint64_t refused = 0;
  /** Bytes of messages from and to clients. */
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  /** Of answered requests. */
  Latency latency;

  template <class Archive>
  void keep(Archive& archive) {
    archive(requests, errors, calls, refused, received_bytes, sent_bytes, latency);
  }

  Traffic& operator+=(const Traffic& other) {
    requests += other.requests;
    errors += other.errors;
    calls += other.calls;
    refused += other.refused;
    received_bytes += other.received_bytes;
    sent_bytes += other.sent_bytes;
    for (std::size_t i = 0; i < Latency::buckets; ++i) {
      latency.counts[i] += other.latency.counts[i];
    }
    return *this;
  }
};

}  // namespace hal::link
