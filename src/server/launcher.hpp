#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "server/config.hpp"

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

/** How a server's process is started and ended; `server` has it as a child, `host` as a systemd unit. */
namespace hal::server {

/** One process to start. */
struct LaunchSpec {
  InstanceId instance;
  ServerConfig config;
  /** For Network::parent: an open network namespace; must stay open until the start is answered. */
  int network_namespace = -1;
  /** Becomes its stdin, which is a pipe of ours otherwise; must stay open until the start is answered. */
  int input = -1;
};

/** A process that runs. */
struct Launched {
  pid_t main_pid = 0;
  /** The systemd unit's name; empty for a child of the daemon. */
  std::string unit;
  /** The write end of its stdin and the read end of its stdout. */
  UniqueFd to_server;
  UniqueFd from_server;
};

/** A process of an earlier daemon that still runs. */
struct Survivor {
  std::string server;
  InstanceId instance;
  pid_t main_pid = 0;
  std::string unit;
  /** Of the configuration it was started with, see fingerprint(). */
  std::string fingerprint;
};

/** How a process ended. */
struct InstanceExit {
  /** For people: "exited with code 3; last stderr: …", "was ended for using more than its memory". */
  std::string reason;
  /** Exit code 0. */
  bool clean = false;
};

/** All calls are asynchronous; completions never come from inside the call. */
class Launcher {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /** A started (or adopted) process has ended, for whatever reason; exactly once each. */
    virtual void on_instance_exit(InstanceId instance, const InstanceExit& exit) = 0;
  };

  virtual ~Launcher() = default;
  /** Before any other call. */
  virtual void set_listener(Listener* listener) = 0;

  /**
   * Answers when the program has been executed. Its stderr goes to the log, with the server's name. A failure names
   * the cause (not_found: no such program) and leaves nothing behind.
   */
  virtual void start(const LaunchSpec& spec, Done<Launched> done) = 0;

  /**
   * Ends a process whose stdin was closed just now: it has `grace` to end by itself, then SIGTERM, after the
   * configuration's stop_timeout SIGKILL, always to all processes it has made. The listener hears of the end. Unknown
   * instances are ignored; a start that is still under way may be answered with Errc::cancelled; the listener then
   * hears nothing of it.
   */
  virtual void stop(InstanceId instance, std::chrono::milliseconds grace) = 0;

  /** What runs from before; the listener hears of their ends from now on. Called once, before any start. */
  virtual void survivors(Done<std::vector<Survivor>> done) = 0;
};

}  // namespace hal::server
