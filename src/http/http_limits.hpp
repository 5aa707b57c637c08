#pragma once

#include "base/limits.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>

/** The HTTP endpoint's own bounds and deadlines. All workers of a parent share it. */
namespace hal::http::limits {

using namespace std::chrono_literals;  // NOLINT(google-global-names-in-headers): units of the deadlines below

using hal::limits::mcp_line_bytes;
using hal::limits::peer_queue_bytes;

/** TCP connections; more wait in the kernel's queue. Two descriptors and the memory below each. */
inline constexpr unsigned connections = 1024;
/** In a network of one worker's own. */
inline constexpr unsigned connections_of_one = 64;
/** Of one connection: the request's line and headers (431 beyond it) and what is being sent. */
inline constexpr std::size_t connection_bytes = 32 * 1024;
/** Requests of one worker at once, streams included; 429 beyond it. */
inline constexpr std::size_t exchanges_per_worker = 192;
/** Bodies of one worker's requests that are being read or wait; 503 beyond it. One body may be mcp_line_bytes. */
inline constexpr std::size_t body_bytes_per_worker = std::size_t{128} << 20;
/** Sessions of all workers; 503 beyond it. */
inline constexpr std::size_t sessions = 4096;
/** Streams a session has open or keeps for resumption; the oldest finished ones are forgotten first, then 429. */
inline constexpr std::size_t streams_per_session = 64;
/** Events of one stream that were sent and are kept for resumption. */
inline constexpr std::size_t kept_bytes_per_stream = 256 * 1024;
/** Events of one session that nobody is reading: they wait for a stream to be resumed or opened. */
inline constexpr std::size_t unread_bytes = std::size_t{8} << 20;
/** A client with more than this to read is read from no more, until it has read. */
inline constexpr std::size_t client_high_bytes = std::size_t{1} << 20;
/** A client with more than this to read loses notifications. */
inline constexpr std::size_t client_notification_bytes = std::size_t{8} << 20;

/** Pages of a server's list of tools that are read to learn which arguments headers must repeat, and the time for it;
 * what is not known then is not checked. */
inline constexpr std::size_t tools_pages = 64;
inline constexpr auto tools_deadline = 10s;
/** From the connection's start, or the end of its last request, to the whole of a request; then it is closed. */
inline constexpr auto request_deadline = 60s;
/** A client that takes no byte for so long is gone. */
inline constexpr unsigned stalled_seconds = 60;
/** For the last bytes of an ending session. */
inline constexpr auto ending = 1s;
/** When a client shall come back to a stream that broke, in milliseconds. */
inline constexpr unsigned retry_ms = 1000;

}  // namespace hal::http::limits

namespace hal::http {

/** What a session waits for; tests wait less. */
struct Times {
  /** A comment on every stream that was silent for so long; a request without an answer becomes a stream. */
  std::chrono::milliseconds keep_alive = std::chrono::seconds(15);
  /** A session without a request or a stream for so long is forgotten: clients seldom say that they go. */
  std::chrono::milliseconds session_idle = std::chrono::minutes(30);
  /** A finished stream is kept so long for who lost it. */
  std::chrono::milliseconds stream_kept = std::chrono::minutes(5);
  /** How often connections that owe a request are looked at. */
  std::chrono::milliseconds late_check = std::chrono::seconds(10);
};

}  // namespace hal::http
