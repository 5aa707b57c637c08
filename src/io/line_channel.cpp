#include "io/line_channel.hpp"

#include "base/pipe_size.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace hal::io {

namespace {

/** Read in one go: the size of a pipe. */
constexpr std::size_t read_bytes = 64 * 1024;
/** Read in one turn of the loop, so that all peers get their turn: about what a socket takes in one, so that who hands
 * on does not outrun who reads. */
constexpr std::size_t bytes_per_turn = 256 * 1024;

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
  if (gathered_) {
    std::replace(gathering().channels.begin(), gathering().channels.end(), this, static_cast<LineChannel*>(nullptr));
  }
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
  if (!shared_->buffer.empty() || close_reason_) {
    later_.schedule();
  }
}

void LineChannel::on_ready(std::uint32_t events) {
  const auto shared = shared_;
  if ((events & EPOLLOUT) != 0 && queued_bytes() > 0) {
    flush_and_tell();
  }
  if (!shared->destroyed && open_ && !paused_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    read_some();
  }
}

void LineChannel::on_later() {
  const auto shared = shared_;
  bool all = false;
  gather([&] { all = deliver_lines(); });
  if (all && !shared->destroyed && close_reason_) {
    const Error reason = *std::exchange(close_reason_, std::nullopt);
    shared->callbacks.on_closed(reason);
  }
}

template <class HandOn>
void LineChannel::gather(HandOn hand_on) {
  struct Active {
    Active() { gathering().active = true; }
    ~Active() { gathering().active = false; }
  };
  {
    const Active active;
    hand_on();
  }
  write_gathered();
}

void LineChannel::read_some() {
  const auto shared = shared_;
  auto& buffer = shared->buffer;
  for (std::size_t total = 0; total < bytes_per_turn && !shared->destroyed && open_ && !paused_;) {
    // A line that is not whole yet is read to its own place, in pieces as large as that has room for.
    const bool aside = buffer.empty();
    char* const place = aside ? read_buffer() : buffer.room(read_bytes);
    const std::size_t size = aside ? read_bytes : std::min(buffer.free_room(), bytes_per_turn);
    const ssize_t count = ::read(in_.get(), place, size);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
      return;
    }
    if (count <= 0) {
      return close(count < 0 ? errno_error("read") : Error{Errc::disconnected, "the peer closed the connection"});
    }
    const auto bytes = static_cast<std::size_t>(count);
    total += bytes;
    if (bytes == read_bytes && out_ && !std::exchange(in_enlarged_, true)) {
      (void)hal::enlarge_pipe(in_.get());
    }
    if (aside) {
      gather([&] { take(*shared, {place, bytes}); });
    } else {
      buffer.filled(bytes);
      gather([&] { (void)deliver_lines(); });
    }
    if (bytes < std::min(size, read_bytes)) {
      return;
    }
  }
}

/** Hands on the lines that are whole and keeps the rest; the buffer is empty before. */
void LineChannel::take(Shared& shared, std::string_view bytes) {
  while (!paused_) {
    const auto newline = bytes.find('\n');
    if (newline == std::string_view::npos) {
      break;
    }
    const auto line = bytes.substr(0, newline);
    bytes.remove_prefix(newline + 1);
    deliver(shared, line);
    if (shared.destroyed) {
      return;
    }
  }
  shared.buffer.append(bytes);
  scanned_ = paused_ ? 0 : bytes.size();
  if (!paused_) {
    drop_overlong();
  }
}

bool LineChannel::deliver_lines() {
  const auto shared = shared_;
  auto& buffer = shared->buffer;
  while (!paused_) {
    const auto bytes = buffer.view();
    const auto newline = bytes.find('\n', scanned_);
    if (newline == std::string_view::npos) {
      scanned_ = bytes.size();
      drop_overlong();
      return true;
    }
    {
      const Loan loan(buffer, newline + 1);
      deliver(*shared, bytes.substr(0, newline));
    }
    if (shared->destroyed) {
      return false;
    }
    scanned_ = 0;
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

/** Drops the start of a line that is already too long. */
void LineChannel::drop_overlong() {
  auto& buffer = shared_->buffer;
  if (dropping_ + buffer.size() > max_line_bytes_) {
    dropping_ += buffer.size();
    buffer.consume(buffer.size());
    scanned_ = 0;
  }
}

void LineChannel::update_events() {
  if (!open_) {
    return;
  }
  const std::uint32_t reading = paused_ ? 0U : EPOLLIN;
  const std::uint32_t writing = blocked_ ? EPOLLOUT : 0U;
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
