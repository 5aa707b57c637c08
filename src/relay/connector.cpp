#include "relay/connector.hpp"

#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hal::relay {

namespace {

/** Delays from 5 ms to 320 ms: a socket's file is there a moment before it listens, and the folder tells the rest. */
constexpr std::chrono::milliseconds first_delay{5};
constexpr unsigned max_doublings = 6;

}  // namespace

Connector::Connector(std::string path) : path_(std::move(path)) {}

/** Not at the start: the kernel may take tens of milliseconds, and a first connection is expected to work. */
void Connector::watch_folder() {
  if (std::exchange(watched_, true)) {
    return;
  }
  inotify_ = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const auto slash = path_.rfind('/');
  const auto folder = slash == std::string::npos ? std::string(".") : path_.substr(0, slash + 1);
  if (!inotify_ || ::inotify_add_watch(inotify_.get(), folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_ATTRIB) < 0) {
    inotify_.reset();  // then time alone decides
  }
}

UniqueFd Connector::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  UniqueFd socket;
  if (path_.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
  } else {
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    socket = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
      const int error = errno;
      socket.reset();
      errno = error;
    }
  }
  if (!socket) {
    const int error = errno;
    failed();
    errno = error;
  }
  return socket;
}

void Connector::failed() {
  watch_folder();
  retry_at_ = Clock::now() + first_delay * (1U << std::min(attempts_, max_doublings));
  ++attempts_;
}

bool Connector::folder_changed() {
  char events[4096];
  while (::read(inotify_.get(), events, sizeof events) > 0) {
  }
  return ::access(path_.c_str(), F_OK) == 0;
}

}  // namespace hal::relay
