#include "io/message_channel.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hal::io {

namespace {

/** Datagrams taken in one turn of the loop, so that one busy peer does not starve the others. */
constexpr int messages_per_turn = 16;

using FdBuffer = std::array<char, CMSG_SPACE(sizeof(int) * limits::channel_message_fds)>;

void take_fds(const msghdr& header, std::vector<UniqueFd>& fds) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(const_cast<msghdr*>(&header), control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

Result<void> send_message(int socket, std::string_view bytes, std::span<const int> fds) {
  if (bytes.empty() || bytes.size() > limits::channel_message_bytes || fds.size() > limits::channel_message_fds) {
    return Error{Errc::limit, "a channel message may have 1 byte to 96 KiB and 8 descriptors"};
  }
  iovec vector{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  alignas(cmsghdr) FdBuffer buffer{};
  if (!fds.empty()) {
    header.msg_control = buffer.data();
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(control), fds.data(), fds.size_bytes());
  }
  if (::sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    return errno_error("send on a private channel");
  }
  return {};
}

Result<std::optional<Message>> receive_message(int socket) {
  Message message;
  message.bytes.resize(limits::channel_message_bytes);
  iovec vector{message.bytes.data(), message.bytes.size()};
  alignas(cmsghdr) FdBuffer buffer{};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = buffer.data();
  header.msg_controllen = buffer.size();
  ssize_t bytes = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (bytes < 0 && errno == ECONNRESET) {
    // Told once, when the peer closed without reading all of ours; what it had sent before is still there.
    bytes = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  }
  if (bytes < 0) {
    if (errno == EAGAIN || errno == EINTR) {
      return std::optional<Message>{};
    }
    return errno_error("receive on a private channel");
  }
  take_fds(header, message.fds);
  if (bytes == 0) {
    return Error{Errc::disconnected, "the peer closed the channel"};
  }
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Error{Errc::protocol,
                 "a channel message was larger than 96 KiB, had more than 8 descriptors or more than we may open"};
  }
  message.bytes.resize(static_cast<std::size_t>(bytes));
  message.bytes.shrink_to_fit();
  return std::optional<Message>(std::move(message));
}

MessageChannel::MessageChannel(event::Loop& loop, UniqueFd socket, std::string name, Callbacks callbacks)
    : socket_(std::move(socket)),
      shared_(std::make_shared<Shared>()),
      closed_later_(loop, name + " (closed)",
                    [this] {
                      const auto shared = shared_;
                      const Error reason = *close_reason_;
                      shared->callbacks.on_closed(reason);
                    }),
      source_(loop, socket_.get(), EPOLLIN, name, [this](std::uint32_t events) { on_ready(events); }) {
  shared_->callbacks = std::move(callbacks);
}

MessageChannel::~MessageChannel() {
  shared_->destroyed = true;
}

Result<void> MessageChannel::send(std::string bytes, std::vector<UniqueFd> fds) {
  if (!open_ || send_failed_) {
    return Error{Errc::disconnected, "the channel is closed"};
  }
  if (bytes.empty() || bytes.size() > limits::channel_message_bytes || fds.size() > limits::channel_message_fds) {
    return Error{Errc::limit, "a channel message may have 1 byte to 96 KiB and 8 descriptors"};
  }
  if (queue_.size() >= limits::channel_queue_messages) {
    return Error{Errc::limit, "the peer reads too slowly: 1024 messages wait for it"};
  }
  queue_.push_back({std::move(bytes), std::move(fds)});
  flush();
  if (send_failed_) {
    return Error{Errc::disconnected, "the peer is gone"};
  }
  return {};
}

void MessageChannel::on_ready(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !receive()) {
    return;
  }
  if ((events & EPOLLOUT) != 0) {
    flush();
  }
}

bool MessageChannel::receive() {
  const auto shared = shared_;
  for (int i = 0; i < messages_per_turn && open_; ++i) {
    auto message = receive_message(socket_.get());
    if (!message) {
      close(message.error());
      return false;
    }
    if (!*message) {
      break;
    }
    shared->callbacks.on_message(std::move(**message));
    if (shared->destroyed) {
      return false;
    }
  }
  return open_;
}

void MessageChannel::flush() {
  while (open_ && !queue_.empty()) {
    std::vector<int> fds;
    for (const auto& fd : queue_.front().fds) {
      fds.push_back(fd.get());
    }
    const auto sent = send_message(socket_.get(), queue_.front().bytes, fds);
    if (!sent && sent.error().code == Errc::busy) {
      break;
    }
    if (!sent && sent.error().code == Errc::disconnected) {
      send_failed_ = true;  // what the peer said before it went is still to be read, and then its end
      queue_.clear();
    } else if (!sent) {
      close(sent.error());
      return;
    } else {
      queue_.pop_front();
    }
  }
  update_events();
}

void MessageChannel::update_events() {
  if (open_) {
    source_.set_events(queue_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  }
}

void MessageChannel::close(const Error& reason) {
  if (!open_) {
    return;
  }
  open_ = false;
  queue_.clear();
  source_.set_events(0);
  close_reason_ = reason;
  closed_later_.schedule();  // close() may run inside send(), whose caller must not be called back
}

}  // namespace hal::io
