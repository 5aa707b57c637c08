#pragma once

#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/** What a worker is, as the rest of the daemon sees it. */
namespace hal::worker {

enum class State { creating, warm, running, unhealthy, stopping, exited, failed };
/** The state's name on D-Bus. */
[[nodiscard]] std::string_view name(State state);

enum class Network { parent, isolated };

/** Bounds of one worker; the defaults are the product's. */
struct Limits {
  std::uint64_t memory_bytes = std::uint64_t{4} << 30;
  double cpus = 2.0;
  std::uint64_t pids = 100;
};

/** Whether a warm worker shall be taken. */
enum class Claim { prefer, require, never };

/** What a caller asks for. Unset members follow the profile, then the defaults. */
struct SpawnRequest {
  /** Who asks and will own the worker, by the bus' word. */
  uid_t owner = 0;
  /** An absolute path, opened with the owner's rights; or, if empty, `directory`. */
  std::string workspace;
  /** An open directory the caller already holds. */
  UniqueFd directory;
  /** Empty: `<basename>-<8 hex of SHA-256 of the real path>`. Unique among the owner's live workers. */
  std::string name;
  std::string profile;
  std::string image;
  /** Empty: the profile's, which is Claude Code. */
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::optional<std::uint64_t> memory_bytes;
  std::optional<double> cpus;
  std::optional<std::uint64_t> pids;
  bool read_only = false;
  Network network = Network::parent;
  /** MCP servers it may use; nothing: all that its owner may. */
  std::optional<std::vector<std::string>> servers;
  /** A repeated request with the same id of the same owner gets the same worker. */
  std::string request_id;
  Claim claim = Claim::prefer;
  /** False: answer at once, with the worker in state `creating`. */
  bool wait = true;
};

/** A worker at this moment. A warm one has no owner (0), workspace and servers yet. All of it is for reading; the
 * Registry changes it. */
struct Worker {
  WorkerId id;
  std::string name;
  State state = State::creating;
  /** One sentence on how it came to this state, where that is not obvious: "out of memory (4 GiB)". */
  std::string reason;
  uid_t owner = 0;
  /** The real path at the time of the claim, for people. */
  std::string workspace;
  std::string profile;
  std::string image;
  ContainerId container;
  /** Of the container's PID 1 on the host; 0 if none runs. */
  pid_t pid = 0;
  /** Microseconds since the epoch. */
  std::uint64_t created_usec = 0;
  std::uint64_t last_activity_usec = 0;
  Limits limits;
  bool read_only = false;
  Network network = Network::parent;
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::vector<std::string> servers;
  std::string request_id;
  /** Its container was made for the pool, from what had this fingerprint then; empty for all others. */
  std::string generation;
  std::uint32_t restarts = 0;
  /** When it was made anew after failures, as far as that still counts; microseconds since the epoch. */
  std::vector<std::uint64_t> replaced_usec;
  /** Of the command, once it has ended; 128 + n for signal n. */
  int exit_code = 0;
};

/** A program in a worker and the way to talk to it. */
struct Stream {
  /** A pty's master, or a socket that is the program's stdin and stdout. */
  UniqueFd fd;
  ExecId id;
};

struct TerminalSize {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};

struct ExecRequest {
  std::vector<std::string> argv;
  /** Added to the worker's own. */
  std::map<std::string, std::string> env;
  /** Empty: /workspace. */
  std::string cwd;
  /** With a size: on a terminal. */
  std::optional<TerminalSize> terminal;
  /** Without a terminal: where stderr goes; unset: to the stream, like stdout. */
  UniqueFd error_output;
};

}  // namespace hal::worker
