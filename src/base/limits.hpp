#pragma once

#include <chrono>
#include <cstddef>

/** Every bound of the system, with its reason. A container filled by someone else has its limit here. */
namespace hal::limits {

/** One JSON-RPC message. Images and files travel as base64 in tool results; 64 MiB is what MCP peers accept. */
inline constexpr std::size_t mcp_line_bytes = std::size_t{64} << 20;
/** Bytes waiting to be written to one peer before it counts as stuck. */
inline constexpr std::size_t peer_queue_bytes = std::size_t{80} << 20;
/** Nesting of JSON: deeper than any real message, far from the stack's end. */
inline constexpr std::size_t json_depth = 64;
/** Values in one parsed JSON document. */
inline constexpr std::size_t json_values = 100'000;
/** A datagram on a private channel, below the kernel's default socket buffer (208 KiB). */
inline constexpr std::size_t channel_message_bytes = 96 * 1024;
/** File descriptors in one datagram. */
inline constexpr std::size_t channel_message_fds = 8;
/** Datagrams waiting on a private channel. */
inline constexpr std::size_t channel_queue_messages = 1024;

/** An answer of the container engine: an inspect is some 10 KiB, a list of a thousand containers 3 MiB. */
inline constexpr std::size_t engine_body_bytes = std::size_t{16} << 20;

/** Workers of one owner and in all, until quotas are configured. */
inline constexpr std::size_t workers_per_owner = 64;
inline constexpr std::size_t workers_total = 256;
/** Warm workers: each costs a container and some MiB for tmux. */
inline constexpr std::size_t warm_workers = 64;
/** Programs at once in one worker. */
inline constexpr std::size_t execs_per_worker = 64;
/** Open streams of output: each is a connection to the engine and two descriptors, until its reader closes it. */
inline constexpr std::size_t log_streams_per_worker = 16;
/** The same of all workers of one owner, those that are removed and still being read included. */
inline constexpr std::size_t log_streams_per_owner = 128;
/** Sessions of one worker with MCP servers: each Claude process opens one a server. */
inline constexpr std::size_t sessions_per_worker = 64;
/** Requests a session may have open at one server. */
inline constexpr std::size_t requests_in_flight = 256;

/** Words and bytes of a command line and its environment. */
inline constexpr std::size_t argv_words = 256;
inline constexpr std::size_t env_entries = 256;

inline constexpr std::size_t name_bytes = 64;
inline constexpr std::size_t path_bytes = 4096;

}  // namespace hal::limits
