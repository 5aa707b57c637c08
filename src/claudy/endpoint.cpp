#include "claudy/endpoint.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace hal::claudy {

namespace {

bool is_socket(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

/** The kernel's own answer. */
bool can_poll(int fd) {
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  return !epoll || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0 || errno != EPERM;
}

bool is_non_blocking(int flags) {
  return (static_cast<unsigned>(flags) & static_cast<unsigned>(O_NONBLOCK)) != 0;
}

int with_non_blocking(int flags) {
  return static_cast<int>(static_cast<unsigned>(flags) | static_cast<unsigned>(O_NONBLOCK));
}

}  // namespace

Endpoint::Endpoint(UniqueFd fd) : fd_(std::move(fd)), socket_(is_socket(fd_.get())), pollable_(can_poll(fd_.get())) {}

Endpoint::Endpoint(Endpoint&& other) noexcept
    : fd_(std::move(other.fd_)),
      socket_(other.socket_),
      pollable_(other.pollable_),
      restore_flags_(std::exchange(other.restore_flags_, std::nullopt)) {}

Endpoint::~Endpoint() {
  if (restore_flags_ && fd_) {
    (void)::fcntl(fd_.get(), F_SETFL, *restore_flags_);
  }
}

Result<Endpoint> Endpoint::standard(int fd, Direction direction) {
  Endpoint endpoint{UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3))};
  if (!endpoint.fd_) {
    return errno_error(direction == Direction::read ? "standard input" : "standard output");
  }
  const int flags = ::fcntl(endpoint.fd(), F_GETFL);
  if (endpoint.socket_ || !endpoint.pollable_ || is_non_blocking(flags)) {
    return endpoint;
  }
  const int mode = direction == Direction::read ? O_RDONLY : O_WRONLY;
  const auto path = fmt::format("/proc/self/fd/{}", fd);
  if (UniqueFd again(::open(path.c_str(), mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)); again) {
    endpoint.fd_ = std::move(again);
    return endpoint;
  }
  if (::fcntl(endpoint.fd(), F_SETFL, with_non_blocking(flags)) != 0) {
    return errno_error("fcntl(O_NONBLOCK)");
  }
  endpoint.restore_flags_ = flags;
  return endpoint;
}

Result<Endpoint> Endpoint::own(UniqueFd fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, with_non_blocking(flags)) != 0) {
    return errno_error("fcntl(O_NONBLOCK)");
  }
  return Endpoint(std::move(fd));
}

ssize_t Endpoint::read(char* buffer, std::size_t bytes) const noexcept {
  return socket_ ? ::recv(fd_.get(), buffer, bytes, MSG_DONTWAIT) : ::read(fd_.get(), buffer, bytes);
}

ssize_t Endpoint::write(std::string_view data) const noexcept {
  return socket_ ? ::send(fd_.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                 : ::write(fd_.get(), data.data(), data.size());
}

void Endpoint::finish_writing() const noexcept {
  if (socket_) {
    (void)::shutdown(fd_.get(), SHUT_WR);
  }
}

void Endpoint::finish_reading() noexcept {
  if (socket_) {  // which may have other descriptors
    (void)::shutdown(fd_.get(), SHUT_RD);
  }
  fd_.reset();
}

}  // namespace hal::claudy
