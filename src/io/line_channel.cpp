#include "io/line_channel.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace hal::io {

namespace {

/** Read in one go: the size of a pipe. */
constexpr std::size_t read_bytes = 64 * 1024;
/** Read, and written, in one turn of the loop, so that all peers get their turn. */
constexpr std::size_t reads_per_turn = 16;
constexpr std::size_t write_bytes = reads_per_turn * read_bytes;
/** A line of more parts is joined before it is written. */
constexpr std::size_t direct_parts = 15;
/** A buffer that grew for a large line is given back when it is empty again. */
constexpr std::size_t keep_bytes = 64 * 1024;

/**
 * Where every channel reads into: lines are handed on from here, only what is not yet whole is kept by its channel.
 * So a thousand idle channels need no buffers. Nobody reads within a callback, so one is enough.
 */
char* read_buffer() {
  static const auto buffer = std::make_unique<char[]>(read_bytes);
  return buffer.get();
}

void make_non_blocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    throw_errno("fcntl(O_NONBLOCK)");
  }
}

}  // namespace

LineChannel::LineChannel(event::Loop& loop, UniqueFd socket, std::string name, Callbacks callbacks,
                         std::size_t max_line_bytes)
    : LineChannel(loop, std::move(socket), UniqueFd(), std::move(name), std::move(callbacks), max_line_bytes) {}

LineChannel::LineChannel(event::Loop& loop, UniqueFd in, UniqueFd out, std::string name, Callbacks callbacks,
                         std::size_t max_line_bytes)
    : in_(std::move(in)),
      out_(std::move(out)),
      shared_(std::make_shared<Shared>()),
      max_line_bytes_(max_line_bytes),
      later_(loop, name + " (later)", [this] { on_later(); }),
      in_source_(loop, in_.get(), EPOLLIN, name, [this](std::uint32_t events) { on_ready(events); }) {
  shared_->callbacks = std::move(callbacks);
  make_non_blocking(in_.get());
  if (out_) {
    make_non_blocking(out_.get());
    out_source_ = std::make_unique<event::Io>(loop, out_.get(), 0, name + " (out)",
                                              [this](std::uint32_t) { on_ready(EPOLLOUT); });
  }
}

LineChannel::~LineChannel() {
  shared_->destroyed = true;
}

Result<void> LineChannel::write_line(std::string_view line) {
  return write_line(std::span(&line, 1));
}

Result<void> LineChannel::write_line(std::initializer_list<std::string_view> parts) {
  return write_line(std::span(parts.begin(), parts.size()));
}

Result<void> LineChannel::write_line(std::span<const std::string_view> parts) {
  if (!open_ || write_failed_ || finish_when_written_) {
    return Error{Errc::disconnected, "the connection is closed"};
  }
  std::size_t bytes = 1;
  for (const auto part : parts) {
    bytes += part.size();
  }
  if (queued_bytes() + bytes > limits::peer_queue_bytes) {
    return Error{Errc::limit, "the peer does not read: 80 MiB wait for it"};
  }
  const std::size_t written = queued_bytes() == 0 ? write_directly(parts) : 0;
  if (!write_failed_ && written < bytes) {
    queue(parts, written);
    update_events();
  }
  if (write_failed_) {
    return Error{Errc::disconnected, "the connection is closed"};
  }
  return {};
}

/** Bytes that went out at once, without a copy; the newline counts. Only when nothing is queued. */
std::size_t LineChannel::write_directly(std::span<const std::string_view> parts) {
  if (parts.size() > direct_parts) {
    return 0;
  }
  static constexpr char newline = '\n';
  std::array<iovec, direct_parts + 1> vector{};
  std::size_t count = 0;
  for (const auto part : parts) {
    vector[count++] = {const_cast<char*>(part.data()), part.size()};
  }
  vector[count++] = {const_cast<char*>(&newline), 1};
  ssize_t bytes = 0;
  do {
    bytes = ::writev(out_fd(), vector.data(), static_cast<int>(count));
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0) {
    write_failed_ = errno != EAGAIN;  // what the peer has still to say is read until its end
    return 0;
  }
  return static_cast<std::size_t>(bytes);
}

/** Keeps a line for later, without its first `written` bytes. */
void LineChannel::queue(std::span<const std::string_view> parts, std::size_t written) {
  for (auto part : parts) {
    const auto skipped = std::min(written, part.size());
    part.remove_prefix(skipped);
    written -= skipped;
    out_buffer_ += part;
  }
  out_buffer_ += '\n';
}

void LineChannel::pause() {
  paused_ = true;
  update_events();
}

void LineChannel::resume() {
  if (!paused_) {
    return;
  }
  paused_ = false;
  update_events();
  if (in_done_ < shared_->buffer.size() || close_reason_) {
    later_.schedule();
  }
}

void LineChannel::finish_writing() {
  if (!finish_when_written_) {
    finish_when_written_ = true;
    flush();
  }
}

void LineChannel::on_ready(std::uint32_t events) {
  const auto shared = shared_;
  if ((events & EPOLLOUT) != 0 && queued_bytes() > 0) {
    flush();
    if (queued_bytes() == 0 && shared->callbacks.on_drained) {
      shared->callbacks.on_drained();
    }
  }
  if (!shared->destroyed && open_ && !paused_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    read_some();
  }
}

void LineChannel::on_later() {
  const auto shared = shared_;
  if (deliver_lines() && close_reason_) {
    const Error reason = *std::exchange(close_reason_, std::nullopt);
    shared->callbacks.on_closed(reason);
  }
}

void LineChannel::read_some() {
  const auto shared = shared_;
  for (std::size_t reads = 0; reads < reads_per_turn && open_ && !paused_; ++reads) {
    const ssize_t bytes = ::read(in_.get(), read_buffer(), read_bytes);
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
      return;
    }
    if (bytes <= 0) {
      return close(bytes < 0 ? errno_error("read") : Error{Errc::disconnected, "the peer closed the connection"});
    }
    take({read_buffer(), static_cast<std::size_t>(bytes)});
    if (shared->destroyed || static_cast<std::size_t>(bytes) < read_bytes) {
      return;
    }
  }
}

/** Hands on the lines that are whole and keeps the rest. */
void LineChannel::take(std::string_view bytes) {
  const auto shared = shared_;
  auto& buffer = shared->buffer;
  if (!buffer.empty()) {
    buffer += bytes;
    deliver_lines();
    return;
  }
  while (!paused_) {
    const auto newline = bytes.find('\n');
    if (newline == std::string_view::npos) {
      break;
    }
    const auto line = bytes.substr(0, newline);
    bytes.remove_prefix(newline + 1);
    deliver(*shared, line);
    if (shared->destroyed) {
      return;
    }
  }
  if (!bytes.empty()) {
    buffer = bytes;
    if (!paused_) {
      in_scanned_ = buffer.size();
      compact();
    }
  }
}

bool LineChannel::deliver_lines() {
  const auto shared = shared_;
  const auto& buffer = shared->buffer;
  while (!paused_) {
    const auto newline = buffer.find('\n', in_scanned_);
    if (newline == std::string::npos) {
      in_scanned_ = buffer.size();
      compact();
      return true;
    }
    const std::string_view line(buffer.data() + in_done_, newline - in_done_);
    in_done_ = in_scanned_ = newline + 1;
    deliver(*shared, line);
    if (shared->destroyed) {
      return false;
    }
  }
  return false;
}

void LineChannel::deliver(Shared& shared, std::string_view line) {
  const std::size_t dropped = std::exchange(dropping_, 0);
  if (dropped + line.size() > max_line_bytes_) {
    shared.callbacks.on_overlong(dropped + line.size());
    return;
  }
  if (!line.empty() && line.back() == '\r') {
    line.remove_suffix(1);
  }
  if (!line.empty()) {
    shared.callbacks.on_line(line);
  }
}

/** Drops the start of a line that is already too long and gives back what has been delivered. */
void LineChannel::compact() {
  auto& buffer = shared_->buffer;
  if (dropping_ + (buffer.size() - in_done_) > max_line_bytes_) {
    dropping_ += buffer.size() - in_done_;
    in_done_ = buffer.size();
  }
  if (in_done_ == buffer.size()) {
    buffer.clear();
    in_done_ = in_scanned_ = 0;
    if (buffer.capacity() > keep_bytes) {
      buffer.shrink_to_fit();
    }
  } else if (in_done_ > keep_bytes) {
    buffer.erase(0, in_done_);
    in_scanned_ -= in_done_;
    in_done_ = 0;
  }
}

void LineChannel::flush() {
  for (std::size_t written = 0; queued_bytes() > 0 && written < write_bytes;) {
    const ssize_t bytes = ::write(out_fd(), out_buffer_.data() + out_done_, queued_bytes());
    if (bytes >= 0) {
      written += static_cast<std::size_t>(bytes);
      out_done_ += static_cast<std::size_t>(bytes);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      write_failed_ = true;  // what the peer has still to say is read until its end
      out_done_ = out_buffer_.size();
    }
  }
  if (queued_bytes() == 0) {
    out_buffer_.clear();
    out_done_ = 0;
    if (out_buffer_.capacity() > keep_bytes) {
      out_buffer_.shrink_to_fit();
    }
    if (finish_when_written_) {
      close_writing();
    }
  } else if (out_done_ > std::max(keep_bytes, out_buffer_.size() / 2)) {
    out_buffer_.erase(0, out_done_);  // at most the bytes just written are moved, so draining stays linear
    out_done_ = 0;
  }
  update_events();
}

void LineChannel::close_writing() {
  if (!out_source_) {
    (void)::shutdown(in_.get(), SHUT_WR);
    return;
  }
  out_source_->set_events(0);
  out_.reset();
}

void LineChannel::update_events() {
  if (!open_) {
    return;
  }
  const std::uint32_t reading = paused_ ? 0U : EPOLLIN;
  const std::uint32_t writing = queued_bytes() > 0 ? EPOLLOUT : 0U;
  if (out_source_) {
    in_source_.set_events(reading);
    if (out_) {
      out_source_->set_events(writing);
    }
  } else {
    in_source_.set_events(reading | writing);
  }
}

void LineChannel::close(const Error& reason) {
  if (!open_) {
    return;
  }
  open_ = false;
  in_source_.set_events(0);
  if (out_source_) {
    out_source_->set_events(0);
  }
  close_reason_ = reason;
  later_.schedule();
}

}  // namespace hal::io
