#pragma once

#include "base/alive.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace hal::daemon {

/**
 * The socket of MCP over HTTP in the parent's network namespace: makes it, hands the gateway a copy, and keeps its own,
 * so that no worker can take the port while a gateway restarts and be sent the others' tokens. A gateway that outlived
 * the daemon has its socket still, and is given none.
 */
class HttpSocket {
 public:
  struct Parts {
    event::Loop& loop;
    /** Names the network namespace of a process, as no other is named while sockets are in it. */
    std::function<Result<std::string>(pid_t)> network_of;
    /** A listening socket in that namespace. */
    std::function<void(pid_t, Done<UniqueFd>)> open;
    /** To the gateway, which is connected. */
    std::function<void(std::string network, UniqueFd listening)> hand_over;
  };

  explicit HttpSocket(Parts parts);

  /** The process whose network it is to be in; 0: there is none now. */
  void on_namespace(pid_t holder);
  /** The gateway is connected and serves this network, or none; unset: it is gone. */
  void on_gateway(std::optional<std::string> network);

 private:
  void update();
  void opened(const std::string& network, Result<UniqueFd> listening);

  Parts parts_;
  pid_t holder_ = 0;
  std::string network_;
  std::optional<std::string> served_;
  /** In the network `listening_in_`. */
  UniqueFd listening_;
  std::string listening_in_;
  bool opening_ = false;
  std::chrono::milliseconds delay_;
  event::Timer retry_;
  Alive alive_;
};

}  // namespace hal::daemon
