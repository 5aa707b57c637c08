#include "init/datagram.hpp"

#include "base/limits.hpp"
#include "init/epoll.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace hal::init {

namespace {

/** False if the path does not fit. */
bool set_path(sockaddr_un& address, const std::string& path) {
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return true;
}

void take_fds(msghdr& message, std::vector<UniqueFd>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

Datagram receive(int socket, std::size_t max_bytes) {
  Datagram datagram;
  datagram.bytes.resize(max_bytes);
  iovec bytes{datagram.bytes.data(), datagram.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * limits::channel_message_fds)];
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count = -1;
  do {
    count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    datagram.status = errno == EAGAIN ? Datagram::Status::empty : Datagram::Status::ended;
    datagram.bytes.clear();
    return datagram;
  }
  take_fds(message, datagram.fds);
  datagram.bytes.resize(static_cast<std::size_t>(count));
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    datagram.status = Datagram::Status::malformed;
  } else {
    datagram.status = count == 0 ? Datagram::Status::ended : Datagram::Status::received;
  }
  return datagram;
}

bool send(int socket, std::string_view bytes, int fd) {
  // sendmsg does not write through msg_iov.
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  ssize_t count = -1;
  do {
    count = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count >= 0;
}

UniqueFd connect_to(const std::string& path, bool blocking) {
  sockaddr_un address{};
  if (!set_path(address, path)) {
    return {};
  }
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    const int error = errno;
    socket.reset();
    errno = error;
  }
  return socket;
}

UniqueFd listen_at(const std::string& path) {
  sockaddr_un address{};
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || !set_path(address, path) ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ||
      ::listen(socket.get(), 4) < 0) {
    throw_system_error(path.c_str());
  }
  return socket;
}

}  // namespace hal::init
