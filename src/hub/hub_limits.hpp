#pragma once

#include "base/limits.hpp"

#include <chrono>
#include <cstddef>

/** The hub's own bounds and deadlines. */
namespace hal::hub::limits {

using namespace std::chrono_literals;  // NOLINT(google-global-names-in-headers): units of the deadlines below

using hal::limits::mcp_line_bytes;
using hal::limits::requests_in_flight;
using hal::limits::sessions_per_worker;

/** From accepting a connection to its first line. The relay sends it at once. */
inline constexpr auto opening_deadline = 10s;
/** The first line: a server's name and a session's id. */
inline constexpr std::size_t opening_line_bytes = 4096;
/** A request waits this long for a server that has no process. */
inline constexpr auto instance_deadline = 30s;
/** A server's answer to initialize. Interpreters load slowly on a busy machine. */
inline constexpr auto handshake_deadline = 60s;
/** A late answer that still means something is waited for so long; afterwards it is an unknown one, and dropped. */
inline constexpr auto cancelled_deadline = 60s;
/** Between the end of a server's output and the news of its exit, either first. */
inline constexpr auto ending_deadline = 1s;
/** One request of the daemon's own. */
inline constexpr auto call_deadline = 60s;

/** Bytes of requests that wait for one server's process. */
inline constexpr std::size_t waiting_bytes = std::size_t{64} << 20;
/** A client with more than this to read is read from no more, until it has read. */
inline constexpr std::size_t client_high_bytes = std::size_t{1} << 20;
/** A client with more than this to read loses notifications. */
inline constexpr std::size_t client_notification_bytes = std::size_t{8} << 20;
/** A server with more than this to read: its clients are read from no more, until it has read. */
inline constexpr std::size_t server_high_bytes = std::size_t{1} << 20;

/** Questions (roots, sampling, elicitation) a server may have open at its clients. */
inline constexpr std::size_t questions_open = 64;
/** Tasks of one session whose owner is known. */
inline constexpr std::size_t tasks_per_session = 256;
/** Cancelled requests at one server whose late answer would name a task that is to be ended. */
inline constexpr std::size_t cancelled_tasks = 256;
/** Answers of one batch that are kept until the last one has come; further ones go out by themselves. */
inline constexpr std::size_t batch_answer_bytes = std::size_t{8} << 20;
/** Resources one session may subscribe to. */
inline constexpr std::size_t subscriptions_per_session = 256;
/** Lines of garbage from one server that are logged in one period; the rest is counted. */
inline constexpr std::size_t garbage_lines = 10;
inline constexpr auto garbage_period = 10s;

/** Changes of counters are reported at most this often. */
inline constexpr auto report_interval = 1s;

}  // namespace hal::hub::limits
