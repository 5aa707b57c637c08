#include "init/control.hpp"

#include "init/datagram.hpp"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <utility>

namespace hal::init {

namespace {

/** Records waiting for a daemon that does not read: several for each exec there can be. */
constexpr std::size_t max_waiting = 8 * limits::execs_per_worker;

/**
 * A socket's file is there before it listens and before its mode is right, and no event tells when they are. So after
 * a sign of a daemon (an event, the end of a connection) we try this often, with delays from 1 ms to 256 ms.
 */
constexpr unsigned max_attempts = 14;
constexpr unsigned max_delay_shift = 8;

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

UniqueFd watch_folder(const std::string& folder) {
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify ||
      ::inotify_add_watch(inotify.get(), folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR) < 0) {
    throw_system_error(folder.c_str());
  }
  return inotify;
}

}  // namespace

Control::Control(Epoll& epoll, std::string path, ControlListener& listener)
    : epoll_(epoll),
      path_(std::move(path)),
      listener_(listener),
      inotify_(watch_folder(folder_of(path_))),
      inotify_watch_(epoll, inotify_.get(), EPOLLIN, [this](std::uint32_t) { folder_changed(); }),
      timer_(epoll, [this] { try_connect(); }) {
  timer_.start(std::chrono::milliseconds::zero());
}

std::optional<Control::FileId> Control::file() const {
  struct stat status {};
  if (::stat(path_.c_str(), &status) < 0) {
    return std::nullopt;
  }
  return FileId{status.st_dev, status.st_ino};
}

void Control::try_connect() {
  const auto before = file();
  UniqueFd socket = connect_to(path_, false);
  if (!socket) {
    retry(errno == EAGAIN);
    return;
  }
  timer_.stop();
  connected_file_ = before;
  socket_ = std::move(socket);
  watch_.emplace(epoll_, socket_.get(), EPOLLIN, [this](std::uint32_t events) { ready(events); });
  std::deque<Waiting> kept;
  std::swap(kept, queue_);
  for (const auto& record : listener_.greeting()) {
    queue_.push_back({record, {}});
  }
  std::move(kept.begin(), kept.end(), std::back_inserter(queue_));
  flush();
}

void Control::retry(bool for_ever) {
  if (!for_ever && attempts_ >= max_attempts) {
    return;  // the folder will tell
  }
  timer_.start(std::chrono::milliseconds(1U << std::min(attempts_, max_delay_shift)));
  ++attempts_;
}

void Control::disconnect() {
  watch_.reset();
  socket_.reset();
  std::deque<Waiting> kept;
  for (auto& waiting : queue_) {
    const auto kind = waiting.record.kind;
    if (kind == RecordKind::exited || kind == RecordKind::failed) {
      kept.push_back({waiting.record, {}});
    }
  }
  std::swap(kept, queue_);
  // Also a daemon that accepts and hangs up, over and over, is not to keep us busy.
  retry(true);
}

void Control::folder_changed() {
  const auto slash = path_.rfind('/');
  const auto name = slash == std::string::npos ? path_ : path_.substr(slash + 1);
  alignas(inotify_event) char buffer[4096];
  bool ours = false;
  for (;;) {
    const auto count = ::read(inotify_.get(), buffer, sizeof buffer);
    if (count <= 0) {
      break;
    }
    for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
      inotify_event event{};
      std::memcpy(&event, buffer + at, sizeof event);
      const char* event_name = event.len > 0 ? buffer + at + sizeof event : "";
      ours = ours || (event.mask & IN_Q_OVERFLOW) != 0 || name == event_name;
      at += sizeof event + event.len;
    }
  }
  if (!ours || (watch_ && file() == connected_file_)) {
    return;
  }
  attempts_ = 0;
  if (watch_) {
    disconnect();
  } else {
    try_connect();
  }
}

void Control::send(const Record& record, UniqueFd fd) {
  const bool keep = record.kind == RecordKind::exited || record.kind == RecordKind::failed;
  if (!watch_ && !keep) {
    return;  // the next greeting says what still matters
  }
  if (queue_.size() >= max_waiting) {
    queue_.clear();  // what the daemon misses, the greeting of the next connection makes good
    if (watch_) {
      disconnect();
    }
    return;
  }
  queue_.push_back({record, std::move(fd)});
  flush();
}

void Control::ready(std::uint32_t events) {
  if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) {
    read();
  } else {
    flush();
  }
}

void Control::read() {
  auto datagram = receive(socket_.get(), limits::channel_message_bytes);
  if (datagram.status == Datagram::Status::empty) {
    return;
  }
  if (datagram.status != Datagram::Status::received) {
    disconnect();
    return;
  }
  auto request = decode_request(datagram.bytes);
  if (!request || fds_with(*request) != datagram.fds.size()) {
    disconnect();
    return;
  }
  attempts_ = 0;
  listener_.requested(std::move(*request), std::move(datagram.fds));
}

void Control::flush() {
  while (watch_ && !queue_.empty()) {
    const auto& next = queue_.front();
    if (!init::send(socket_.get(), encode(next.record), next.fd.get())) {
      break;  // full: EPOLLOUT comes. Broken: reading says so, after what the peer had still sent.
    }
    queue_.pop_front();
  }
  if (watch_) {
    watch_->set_events(queue_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  }
}

}  // namespace hal::init
