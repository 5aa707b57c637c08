#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "server/backoff.hpp"
#include "server/config.hpp"
#include "server/launcher.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hal::server {

/**
 * stopped: by the operator, or because nobody uses it (idle_timeout). starting: also while a server waits for the
 * parent's network namespace or for the gateway. backoff: failed and will be started again. failed: a crash loop, until
 * the operator starts it or its configuration changes. In mode session `running` means that sessions can be had.
 */
enum class State { stopped, starting, running, backoff, failed };
/** The state's name on D-Bus. */
[[nodiscard]] std::string_view name(State state);

/** A server as the rest of the daemon sees it. */
struct Server {
  ServerConfig config;
  State state = State::stopped;
  /** Why it is not running, or empty. */
  std::string reason;
  /** Of the one process in mode shared; empty and 0 otherwise and where nothing runs. */
  std::string unit;
  pid_t main_pid = 0;
  /** Starts after a failure, since the daemon started. */
  std::uint64_t restarts = 0;
  /** Processes that run or are being started. */
  std::size_t instances = 0;
};

/** A process whose stdio the gateway says it holds. */
struct HeldInstance {
  std::string server;
  InstanceId instance;
  /** As request() was given it. */
  std::optional<std::string> session = std::nullopt;
};

/**
 * All MCP servers of the host: keeps one process of each shared server running (one with an idle_timeout
 * only while it is used), starts one for each session that asks
 * for a session server, restarts with backoff, and finds again what an earlier daemon left running.
 *
 * The stdio of a process is the gateway's from on_instance_ready on. Nothing is started before the first reconcile()
 * and between disconnected() and the next one, for nobody could use it.
 */
class Supervisor {
 public:
  /** Told of every change, after it happened, never from inside a call of the supervisor. */
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_server_added(const Server& server) = 0;
    /** Any member changed. A changed configuration (limits, mode) is one as well. */
    virtual void on_server_changed(const Server& server) = 0;
    virtual void on_server_removed(const std::string& name) = 0;
    /** A process runs; its stdio is the listener's. `session` is what request() was given. */
    virtual void on_instance_ready(const std::string& server, InstanceId instance,
                                   const std::optional<std::string>& session, UniqueFd to_server,
                                   UniqueFd from_server) = 0;
    /**
     * A process has ended, or is about to be ended: the gateway answers what is open with `reason` and closes its
     * stdio, which is the first step of every stop. Once for each that was ready or held. The reason completes "server
     * NAME …": "was killed by signal 9 (Killed)".
     */
    virtual void on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason) = 0;
    /** A request() cannot be fulfilled, or a shared server will not return by itself (no retry_in). */
    virtual void on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                                       const std::string& reason,
                                       std::optional<std::chrono::milliseconds> retry_in) = 0;
  };

  struct Options {
    BackoffPolicy backoff;
    /** Processes of all servers together. */
    std::size_t max_instances = 512;
  };

  /** Loop, launcher and listener must outlive the supervisor. */
  Supervisor(event::Loop& loop, Launcher& launcher, Listener& listener, Options options);
  Supervisor(event::Loop& loop, Launcher& launcher, Listener& listener);
  /** Leaves to the launcher what becomes of the processes; nobody is told anything any more. */
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /**
   * The servers that shall exist from now on. Unchanged ones are left alone, changed ones restarted (a change of mere
   * limits of the gateway's is only reported), missing ones stopped and forgotten.
   */
  void apply(std::vector<ServerConfig> configs);

  /**
   * The gateway is connected and holds the stdio of these processes. What it holds and what runs is kept; what runs
   * and is not held is ended; what is held and does not run is told gone. Then all is started that should run.
   */
  void reconcile(std::vector<HeldInstance> held);
  /** The gateway's connection is lost. Processes live on; nothing new is started. */
  void disconnected();

  /**
   * The network namespace for servers with network "parent"; invalid: there is none now. Those of a former namespace
   * are restarted in the new one.
   */
  void set_network_namespace(UniqueFd network_namespace);

  [[nodiscard]] const Server* find(std::string_view name) const;
  /** In name order. */
  [[nodiscard]] std::vector<const Server*> all() const;

  /**
   * Answer when it runs, failed to start or has ended. not_found for an unknown name; unavailable, with the reason,
   * for a start that has to wait for the namespace or the gateway and will come by itself.
   */
  void start(std::string_view name, Done<void> done);
  void stop(std::string_view name, Done<void> done);
  void restart(std::string_view name, Done<void> done);

  /**
   * The gateway needs a process: answered by on_instance_ready or on_server_unavailable. For a shared server without
   * an idle_timeout, whose process comes by itself, only the latter is an answer of its own. With a `session` a shared
   * server gets a second process beside that one: not more than one, and never by itself.
   */
  void request(const std::string& server, const std::optional<std::string>& session);
  /** The gateway has closed the stdio of this process and wants it ended. */
  void release(const std::string& server, InstanceId instance);

  /** Ends all processes; nothing is started any more. Answers when the last has ended. */
  void stop_all(Done<void> done);

 private:
  class Impl;
  /** Shared with the completions under way, which look whether it still lives. */
  std::shared_ptr<Impl> impl_;
};

}  // namespace hal::server
