#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "host/tasks.hpp"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace hal::host {

/** Sockets inside another process's network namespace, where they stay although this process never enters it. */
class NetSockets {
 public:
  explicit NetSockets(event::Loop& loop);

  /** A TCP socket, not connected, close-on-exec and non-blocking. */
  void unconnected(pid_t namespace_of, Done<UniqueFd> done);
  /** One that listens on 127.0.0.1:`port`; busy if the port is taken. */
  void listening(pid_t namespace_of, std::uint16_t port, Done<UniqueFd> done);

 private:
  void make(pid_t namespace_of, std::uint16_t port, bool listen, Done<UniqueFd> done);

  Tasks tasks_;
};

/** The network namespace of a process, kept alive by the descriptor; unavailable if there is no such process. */
[[nodiscard]] Result<UniqueFd> open_network_namespace(pid_t pid);

/** Names the network namespace of a process; another one has the name only once this one and its sockets are gone. */
[[nodiscard]] Result<std::string> network_name(pid_t pid);

/** Whether two processes share a network namespace; nothing where one of them has none to look at (any more). */
[[nodiscard]] std::optional<bool> same_network(pid_t one, pid_t other);

}  // namespace hal::host
