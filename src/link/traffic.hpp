#pragma once

#include "base/latency.hpp"

#include <cstdint>

namespace hal::link {

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
    latency += other.latency;
    return *this;
  }
};

}  // namespace hal::link
