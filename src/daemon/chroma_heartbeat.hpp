#pragma once

#include "base/alive.hpp"
#include "base/result.hpp"
#include "curl/multi.hpp"
#include "curl/request.hpp"
#include "host/net_socket.hpp"

#include <sys/types.h>

#include <memory>
#include <optional>

namespace hal::daemon {

/** Asks ChromaDB whether it is well, on 127.0.0.1:8000 of the network namespace of the parent. One question at a time.
 */
class ChromaHeartbeat {
 public:
  ChromaHeartbeat(curl::Multi& multi, host::NetSockets& sockets);

  /** Answers within a few seconds. A new question replaces an unanswered one, which is then never answered. */
  void ask(pid_t holder, Done<void> done);

 private:
  void request(UniqueFd socket, Done<void> done);

  curl::Multi& multi_;
  host::NetSockets& sockets_;
  std::unique_ptr<curl::Request> request_;
  std::optional<Alive> asking_;
};

}  // namespace hal::daemon
