#pragma once

#include "base/alive.hpp"
#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hal::daemon {

/**
 * The sockets of MCP over HTTP, one in each network namespace in which the holder or a worker lives: the parent's,
 * those of former parents as long as workers are in them, and workers' own. Makes them, hands the gateway copies, and
 * keeps its own, so that no worker can take the port while a gateway restarts and be sent the others' tokens. A gateway
 * that outlived the daemon has its sockets still, and is given none.
 */
class HttpSockets {
 public:
  struct Parts {
    event::Loop& loop;
    /** Names the network namespace of a process, as no other is named while sockets are in it. */
    std::function<Result<std::string>(pid_t)> network_of;
    /** A listening socket in the namespace of the process. */
    std::function<void(pid_t, Done<UniqueFd>)> open;
    /** To the gateway, which is connected. `owner`: the worker whose own network it is, or empty. */
    std::function<void(const std::string& network, const WorkerId& owner, UniqueFd listening)> serve;
    std::function<void(const std::string& network)> close;
  };

  explicit HttpSockets(Parts parts);

  /** The namespace holder; 0: there is none now. */
  void on_holder(pid_t holder);
  /** A worker's PID 1, or 0 where none runs. `own`: its network is its own. */
  void on_worker(const WorkerId& id, pid_t pid, bool own);
  /** Answers when the socket of a worker's own network is there, and why it is not where it cannot be. */
  void prepare(const WorkerId& id, pid_t pid, Done<void> done);
  /** All workers are told: what the gateway serves where nobody lives can be closed. */
  void on_workers_known();
  /** The gateway is connected and serves these networks; unset: it is gone. */
  void on_gateway(std::optional<std::vector<std::string>> networks);

 private:
  struct Network {
    std::map<WorkerId, pid_t> members;
    /** Set where the network is a worker's own. */
    WorkerId owner;
    UniqueFd listening;
    bool opening = false;
    std::chrono::milliseconds delay;
    std::unique_ptr<event::Timer> retry;
    std::vector<Done<void>> waiters;
  };

  void leave(const WorkerId& id);
  void update(const std::string& name);
  void opened(const std::string& name, Result<UniqueFd> listening);
  void close_deserted();

  Parts parts_;
  /** Where each worker lives, with the process by which that was found; the holder's id is empty. */
  std::map<WorkerId, std::pair<pid_t, std::string>> homes_;
  std::map<std::string, Network> networks_;
  bool connected_ = false;
  /** What the connected gateway serves. */
  std::set<std::string> served_;
  bool workers_known_ = false;
  Alive alive_;
};

}  // namespace hal::daemon
