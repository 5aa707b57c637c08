#pragma once

#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "process/child.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace hal::daemon {

/**
 * Keeps a gateway at hand: as a child of ours, started again when it ends, or as a unit of its own, to whose socket we
 * connect. Hands over the link's socket each time there is a new one.
 */
class GatewayHost {
 public:
  struct Options {
    /** Empty: a child. Else the socket of hal9000-gateway.socket. */
    std::string unit_socket;
    /** The program, for a child. */
    std::string program;
    /** Who the child runs as where we are root and the account exists. */
    std::string user = "hal9000";
  };
  using Callback = std::function<void(UniqueFd socket)>;

  GatewayHost(event::Loop& loop, Options options, Callback on_connected);

  void start();
  /** The link has ended: connect again, each time later unless it was good for long, or wait for the child's successor.
   */
  void reconnect();
  /** Ends the child, if it is one. */
  void stop();

 private:
  void try_once();
  void start_child();
  void connect_unit();
  void again(const std::string& why);

  event::Loop& loop_;
  Options options_;
  Callback on_connected_;
  std::chrono::milliseconds delay_;
  std::chrono::steady_clock::time_point started_{};
  bool stopping_ = false;
  std::unique_ptr<process::Child> child_;
  event::Timer retry_;
};

}  // namespace hal::daemon
