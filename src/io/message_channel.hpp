#pragma once

#include "base/limits.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hal::io {

/** A datagram of a private channel: bytes and the descriptors that came with them. */
struct Message {
  std::string bytes;
  std::vector<UniqueFd> fds;
};

/**
 * Sends one datagram on a SOCK_SEQPACKET socket. Errc::busy: the peer's buffer is full, nothing was sent;
 * Errc::limit: it can never fit; Errc::disconnected: the peer is gone.
 */
[[nodiscard]] Result<void> send_message(int socket, std::string_view bytes, std::span<const int> fds = {});

/**
 * Receives one datagram; nothing where none waits. Errc::disconnected at the end, Errc::protocol for one that was cut
 * by our limits (limits::channel_message_bytes, channel_message_fds). Descriptors are close-on-exec.
 */
[[nodiscard]] Result<std::optional<Message>> receive_message(int socket);

/** A SOCK_SEQPACKET connection on the loop with a bounded queue of outgoing messages. */
class MessageChannel {
 public:
  struct Callbacks {
    std::function<void(Message)> on_message;
    /**
     * Once, after the last message: the peer is gone or broke the limits. The channel sends and receives nothing
     * after it.
     */
    std::function<void(const Error&)> on_closed;
  };

  MessageChannel(event::Loop& loop, UniqueFd socket, std::string name, Callbacks callbacks);
  ~MessageChannel();
  MessageChannel(const MessageChannel&) = delete;
  MessageChannel& operator=(const MessageChannel&) = delete;

  /**
   * Queues a message. Errc::limit when the queue is full or the message too large, Errc::disconnected when the peer is
   * gone; what it has said before is delivered nevertheless, then on_closed.
   */
  Result<void> send(std::string bytes, std::vector<UniqueFd> fds = {});

  [[nodiscard]] bool open() const noexcept { return open_; }
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /** Messages that wait for the peer. */
  [[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }

 private:
  /** What a running callback uses; it outlives a channel that is destroyed inside. */
  struct Shared {
    Callbacks callbacks;
    bool destroyed = false;
  };

  void on_ready(std::uint32_t events);
  /** False if the channel was closed or destroyed. */
  bool receive();
  void flush();
  void update_events();
  void close(const Error& reason);

  UniqueFd socket_;
  std::shared_ptr<Shared> shared_;
  std::deque<Message> queue_;
  bool open_ = true;
  bool send_failed_ = false;
  event::Defer closed_later_;
  std::optional<Error> close_reason_;
  event::Io source_;
};

}  // namespace hal::io
