#pragma once

#include "base/limits.hpp"
#include "base/result.hpp"
#include "base/strong_id.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/**
 * What hal9000d and hal9000-init say to each other over `control.sock` (SOCK_SEQPACKET, one message a datagram; the
 * daemon listens, init connects). Both ends run on one kernel, so numbers are in the machine's own byte order.
 *
 * daemon -> init: requests, a header and strings, at most limits::channel_message_bytes.
 *   prepare id, rows, columns, cwd, env. Starts tmux, so that a main need only start its program. Answer: prepared, at
 *           once if it is so already, or failed. No main needs it.
 *   main    id, rows, columns, cwd, argv, env. Starts the worker's command, once, in tmux (of the prepared one's size,
 *           if there is one). Answer: started or failed.
 *   exec    id, terminal, rows, columns, cwd, argv, env. With a terminal: no fds. Without: exactly three fds come with
 *           the datagram: stdin, stdout, stderr. Answer: started or failed, then exited.
 *   signal  id, signal. To the program's process group. No answer; ignored if no such program runs.
 *   resize  id, rows, columns. Sets the window of a terminal exec. No answer; ignored if no such terminal is open, and
 *           for main, whose window tmux sizes by its clients.
 *   ping    id. Answer: pong, at once.
 *
 * init -> daemon: records, all of the same size, so that the daemon parses nothing variable a worker wrote.
 *   hello        first on each connection. version; flags main_started if a main was ever started, then with its id.
 *   running      after hello, one for each program of an exec that still runs. id, pid, flags terminal.
 *   exited       after hello also for what ended while nobody was connected.
 *   started      id, pid. The program runs: its execve has succeeded. For a terminal exec the datagram carries one fd,
 *                the pty's master; init keeps no copy.
 *   prepared     id. tmux runs and waits for a main.
 *   pong         id. Of a ping.
 *   failed       id, error (errno). Nothing runs: ENOENT, EACCES, … of cwd or program; EAGAIN when
 *                limits::execs_per_worker run already; EEXIST for an id in use; EALREADY for a second main;
 *                ESHUTDOWN when the worker is already ending.
 *   exited       id, status (as of waitpid). Sent after `started` of that id.
 *   main_exited  id, status. The worker's command has ended; init ends what is left and exits with the command's code.
 *                Sent again after hello on a new connection if init still runs then.
 * A pid is the one inside the worker's PID namespace: for people to read, never to be used by the daemon.
 *
 * A datagram that breaks these rules ends the connection, from either side. Then init connects anew. A record may be
 * lost with a connection: an id the daemon knows that is neither in `running` nor in `exited` after hello has ended
 * with an unknown status.
 */
namespace hal::init {

inline constexpr std::uint32_t protocol_version = 1;

enum class RequestKind : std::uint32_t { main = 1, exec = 2, signal = 3, resize = 4, prepare = 5, ping = 6 };
enum class RecordKind : std::uint32_t {
  hello = 1,
  running = 2,
  started = 3,
  failed = 4,
  exited = 5,
  main_exited = 6,
  prepared = 7,
  pong = 8
};

/** What one datagram asks for. Members the kind does not use are left as they are here. */
struct Request {
  RequestKind kind = RequestKind::exec;
  ExecId id;                  ///< Never 0; chosen by the daemon, unique among what runs in this worker.
  bool terminal = false;      ///< exec only.
  std::uint16_t rows = 0;     ///< prepare, main, terminal exec, resize. 0 stands for 24.
  std::uint16_t columns = 0;  ///< The same; 0 stands for 80.
  std::int32_t signal = 0;    ///< signal only: 1 to 64.
  std::string cwd;            ///< prepare, main, exec: an absolute path.
  std::vector<std::string>
      argv;  ///< main, exec: 1 to limits::argv_words; a program without '/' is looked up in env's PATH.
  /** prepare, main, exec: NAME=VALUE, up to limits::env_entries; the whole environment. */
  std::vector<std::string> env;

  friend bool operator==(const Request&, const Request&) = default;
};

/** Flags of a record. */
inline constexpr std::uint32_t record_main_started = 1;  ///< hello
inline constexpr std::uint32_t record_terminal = 2;      ///< running, started

/** What one datagram of init says; it is sent as these bytes. */
struct Record {
  RecordKind kind = RecordKind::hello;
  std::uint32_t version = protocol_version;
  ExecId id;
  std::uint32_t flags = 0;
  std::int32_t pid = 0;
  std::int32_t error = 0;   ///< failed: errno
  std::int32_t status = 0;  ///< exited, main_exited: as of waitpid(2)

  friend bool operator==(const Record&, const Record&) = default;
};
inline constexpr std::size_t record_bytes = sizeof(Record);
static_assert(record_bytes == 32, "no padding, the same in every build");

/** The datagram for a request. Fails (invalid_argument, limit) where decode would. */
[[nodiscard]] Result<std::string> encode(const Request& request);

/** The request in a datagram. Pure; holds against any bytes. Errors: protocol, limit. */
[[nodiscard]] Result<Request> decode_request(std::string_view datagram);

/** How many fds a request must come with: 3 for an exec without a terminal, else 0. */
[[nodiscard]] std::size_t fds_with(const Request& request);

/** The datagram for a record, always record_bytes long. */
[[nodiscard]] std::string encode(const Record& record);

/** The record in a datagram. Pure; holds against any bytes. Error: protocol. */
[[nodiscard]] Result<Record> decode_record(std::string_view datagram);

/** How many fds a record must come with: 1 for `started` with record_terminal, else 0. */
[[nodiscard]] std::size_t fds_with(const Record& record);

}  // namespace hal::init
