#pragma once

#include "base/unique_fd.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/** Datagrams with descriptors on SOCK_SEQPACKET sockets. */
namespace hal::init {

/** What one receive gave. */
struct Datagram {
  enum class Status {
    received,
    empty,      ///< Nothing there now.
    ended,      ///< The peer is gone, or sent an empty datagram, which nobody does on purpose.
    malformed,  ///< Longer than any message, or with more descriptors than any message.
  };
  Status status = Status::ended;
  std::string bytes;
  std::vector<UniqueFd> fds;
};

/** At most `max_bytes` and limits::channel_message_fds descriptors. Blocks if the socket does. */
[[nodiscard]] Datagram receive(int socket, std::size_t max_bytes);

/** True if sent. Else errno says why; EAGAIN on a full non-blocking socket. `fd` is -1 for none. */
[[nodiscard]] bool send(int socket, std::string_view bytes, int fd = -1);

/** A socket connected to `path`, close-on-exec. Invalid with errno set if that fails. */
[[nodiscard]] UniqueFd connect_to(const std::string& path, bool blocking);

/** A listening socket at `path`, non-blocking. Throws std::system_error. */
[[nodiscard]] UniqueFd listen_at(const std::string& path);

}  // namespace hal::init
