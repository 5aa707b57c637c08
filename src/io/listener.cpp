#include "io/listener.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace hal::io {

namespace {

/** How long to leave a listener alone that cannot accept (out of descriptors, mostly), instead of spinning on it. */
constexpr auto pause_after_error = std::chrono::milliseconds(100);

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error{Errc::invalid_argument, "socket path " + path + ": must have 1 to 107 bytes"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<UniqueFd> new_socket(int type) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    return errno_error("socket");
  }
  return fd;
}

}  // namespace

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return errno_error("getsockopt(SO_PEERCRED)");
  }
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode, int backlog) {
  auto address = address_of(path);
  if (!address) {
    return address.error();
  }
  auto fd = new_socket(type);
  if (!fd) {
    return fd;
  }
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      return Error{Errc::already_exists, path + ": exists and is not a socket"};
    }
    if (::unlink(path.c_str()) != 0) {
      return errno_error("unlink " + path);
    }
  }
  if (::bind(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return errno_error("bind " + path);
  }
  if (::chmod(path.c_str(), mode) != 0) {
    return errno_error("chmod " + path);
  }
  if (::listen(fd->get(), backlog) != 0) {
    return errno_error("listen " + path);
  }
  return fd;
}

Result<UniqueFd> connect_unix(const std::string& path, int type) {
  auto address = address_of(path);
  if (!address) {
    return address.error();
  }
  auto fd = new_socket(type);
  if (!fd) {
    return fd;
  }
  if (::connect(fd->get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return errno_error("connect " + path);
  }
  return fd;
}

Result<SocketPair> socket_pair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return errno_error("socketpair");
  }
  return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Listener::Listener(event::Loop& loop, UniqueFd fd, std::string name, Callback callback)
    : fd_(std::move(fd)),
      callback_(std::make_shared<Callback>(std::move(callback))),
      retry_(loop, name + " (retry)", [this] { source_.set_events(EPOLLIN); }),
      source_(
          loop, fd_.get(), EPOLLIN, name, [this](std::uint32_t) { accept_one(); }, event::Priority::accept) {}

void Listener::pause() {
  retry_.disarm();
  source_.set_events(0);
}

void Listener::accept_one() {
  UniqueFd connection(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection) {
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      source_.set_events(0);
      retry_.arm(pause_after_error);
    }
    return;
  }
  const auto peer = peer_credentials(connection.get());
  if (peer) {  // nobody is let in unknown
    const auto callback = callback_;
    (*callback)(std::move(connection), *peer);
  }
}

}  // namespace hal::io
