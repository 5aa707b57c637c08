#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

namespace hal::io {

/**
 * Who is at the other end of a unix socket, as the kernel recorded it at connect time, in our own namespaces. Unknown,
 * as for a TCP socket: pid 0 and the invalid ids.
 */
struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
};
[[nodiscard]] Result<PeerCredentials> peer_credentials(int socket);

/**
 * A listening unix socket at `path` (at most 107 bytes), replacing a stale one; any other file there is
 * Errc::already_exists. `type` is SOCK_STREAM or SOCK_SEQPACKET; `mode` the permissions of the socket file.
 * Close-on-exec and non-blocking.
 */
[[nodiscard]] Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode, int backlog = 64);

/** Connects to a unix socket; never blocks (a full backlog is Errc::busy). */
[[nodiscard]] Result<UniqueFd> connect_unix(const std::string& path, int type);

/** A connected pair, close-on-exec and non-blocking. */
struct SocketPair {
  UniqueFd ours;
  UniqueFd theirs;
};
[[nodiscard]] Result<SocketPair> socket_pair(int type);

/** Hands over accepted connections (close-on-exec, non-blocking). Owns the listening fd. May be destroyed inside. */
class Listener {
 public:
  using Callback = std::function<void(UniqueFd connection, PeerCredentials peer)>;
  Listener(event::Loop& loop, UniqueFd fd, std::string name, Callback callback);
  [[nodiscard]] const UniqueFd& fd() const noexcept { return fd_; }
  /** Who connects from now on waits, for another process that has the socket. */
  void pause();

 private:
  void accept_one();

  UniqueFd fd_;
  std::shared_ptr<Callback> callback_;
  event::Timer retry_;
  event::Io source_;
};

}  // namespace hal::io
