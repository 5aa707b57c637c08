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
/** Long waits for a server; tests have shorter ones. */
struct Deadlines {
  /** A request waits this long for a server that has no process. */
  std::chrono::milliseconds instance = 30s;
  /** A server's answer to initialize. Interpreters load slowly on a busy machine. */
  std::chrono::milliseconds handshake = 60s;
  /** A list of all servers' waits so long for them; those that come later announce themselves. */
  std::chrono::milliseconds list = 10s;
};
/** A process's answer to server/discover. Who stays silent for so long speaks an older revision. */
inline constexpr auto discover_deadline = 15s;
/** When a server that did not say so itself, but ended or stayed silent, is asked again what it speaks. */
inline constexpr auto discover_again = 10min;
/** Before a stream of notifications that broke is opened once more. */
inline constexpr auto listen_again = 5s;
/** A call that waits for a client's answers (requestState of an "input_required" result). */
inline constexpr auto input_deadline = 10min;
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
/** Sets of capabilities that one client may speak with at once to a server of an older revision. */
inline constexpr std::size_t capability_sets = 8;
/** Streams of notifications (subscriptions/listen) of one client at such a server. */
inline constexpr std::size_t listens_per_client = 64;
/** Answers that came while their call waited for its client, of one client. */
inline constexpr std::size_t early_answer_bytes = std::size_t{8} << 20;
/** Resources one session may subscribe to. */
inline constexpr std::size_t subscriptions_per_session = 256;
/** Lines of garbage from one server that are logged in one period; the rest is counted. */
inline constexpr std::size_t garbage_lines = 10;
inline constexpr auto garbage_period = 10s;

/** Readers of one server's traffic, and those of them that are one user's. */
inline constexpr std::size_t traces_per_server = 16;
inline constexpr std::size_t traces_per_user = 4;
/** Lines that wait for one reader of traffic; with more it loses some. */
inline constexpr std::size_t trace_bytes = std::size_t{256} << 10;
/** Of a message, shown to a reader who wants to see it. */
inline constexpr std::size_t trace_payload_bytes = 4096;

/** A server that was missing in a list is asked again after so long, doubled up to the second one. */
inline constexpr std::chrono::milliseconds first_retry = 1s;
inline constexpr std::chrono::milliseconds last_retry = 60s;
/** Of a merged list: further pages of a server follow under a cursor once so much, or so many, are there. */
inline constexpr std::size_t list_bytes = std::size_t{1} << 20;
inline constexpr std::size_t list_pages = 64;
/** Of one server's page; what would make the list larger than the second is left out. */
inline constexpr std::size_t list_page_bytes = std::size_t{16} << 20;
inline constexpr std::size_t merged_list_bytes = std::size_t{48} << 20;
/** Cursors of a session that are good; the oldest is forgotten. */
inline constexpr std::size_t cursors_per_session = 16;
/** A request for a resource whose server is not known is asked of several if it is not longer. */
inline constexpr std::size_t search_bytes = std::size_t{64} << 10;
/** What a session knows of its servers' resources. */
inline constexpr std::size_t indexed_resources = 4096;
inline constexpr std::size_t indexed_templates = 512;
inline constexpr std::size_t indexed_uri_bytes = 2048;
/** Of one server's instructions, and of all together. */
inline constexpr std::size_t instructions_bytes = 4096;
inline constexpr std::size_t all_instructions_bytes = 32768;

/** Changes of counters are reported at most this often. */
inline constexpr auto report_interval = 1s;

}  // namespace hal::hub::limits
