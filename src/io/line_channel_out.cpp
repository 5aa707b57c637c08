// How a LineChannel writes.
#include "base/pipe_size.hpp"
#include "io/line_channel.hpp"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace hal::io {

namespace {

/** Written in one turn of the loop, so that all peers get their turn. */
constexpr std::size_t write_bytes = std::size_t{1} << 20;
/** A line of more parts is joined before it is written. */
constexpr std::size_t direct_parts = 15;
/** A longer line is written from where it is: copying it would cost more than a system call. */
constexpr std::size_t gather_line_bytes = 8 * 1024;
/** Gathered lines of more bytes are written before the end of the turn, so that the peer can begin. */
constexpr std::size_t gather_bytes = 32 * 1024;

}  // namespace

LineChannel::Gathering& LineChannel::gathering() {
  static Gathering one;  // a process has one loop and one thread
  return one;
}

void LineChannel::write_gathered() {
  auto& channels = gathering().channels;
  for (std::size_t i = 0; i < channels.size(); ++i) {  // callbacks may add some and set some to null
    if (auto* channel = channels[i]; channel != nullptr) {
      channel->gathered_ = false;
      channels[i] = nullptr;
      channel->flush_and_tell();
    }
  }
  channels.clear();
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
  if (!write_later(parts, bytes)) {
    if (!blocked_ && queued_bytes() > 0) {
      flush();
    }
    const std::size_t written = queued_bytes() == 0 && !write_failed_ ? write_directly(parts) : 0;
    if (!write_failed_ && written < bytes) {
      queue(parts, written);
      blocked_ = true;
      if (enlarge_pipe()) {
        flush();
      } else {
        update_events();
      }
    }
  }
  if (write_failed_) {
    return Error{Errc::disconnected, "the connection is closed"};
  }
  return {};
}

/** True if the line goes out with others at the end of the turn. */
bool LineChannel::write_later(std::span<const std::string_view> parts, std::size_t bytes) {
  if (!gathering().active || blocked_ || bytes > gather_line_bytes) {
    return false;
  }
  queue(parts, 0);
  if (!std::exchange(gathered_, true)) {
    gathering().channels.push_back(this);
  }
  if (queued_bytes() > gather_bytes) {
    flush();
  }
  return true;
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

/** Keeps a line for later, without its first `written` bytes; large parts of what is being handed on are not copied. */
void LineChannel::queue(std::span<const std::string_view> parts, std::size_t written) {
  for (auto part : parts) {
    const auto skipped = std::min(written, part.size());
    part.remove_prefix(skipped);
    written -= skipped;
    waiting_.append(part);
  }
  waiting_.append("\n");
}

void LineChannel::finish_writing() {
  if (!finish_when_written_) {
    finish_when_written_ = true;
    flush();
  }
}

bool LineChannel::enlarge_pipe() {
  return out_ && !std::exchange(out_enlarged_, true) && hal::enlarge_pipe(out_.get());
}

void LineChannel::flush() {
  blocked_ = false;
  for (std::size_t written = 0; queued_bytes() > 0 && written < write_bytes;) {
    std::array<iovec, direct_parts> vector{};
    const auto count = waiting_.fill(vector);
    const ssize_t bytes = ::writev(out_fd(), vector.data(), static_cast<int>(count));
    if (bytes >= 0) {
      written += static_cast<std::size_t>(bytes);
      waiting_.consume(static_cast<std::size_t>(bytes));
    } else if (errno == EAGAIN) {
      if (!enlarge_pipe()) {
        break;
      }
    } else if (errno != EINTR) {
      write_failed_ = true;  // what the peer has still to say is read until its end
      waiting_.consume(waiting_.size());
    }
  }
  blocked_ = queued_bytes() > 0;
  if (!blocked_ && finish_when_written_) {
    close_writing();
  }
  update_events();
}

void LineChannel::flush_and_tell() {
  const auto shared = shared_;
  flush();
  if (write_failed_ && !std::exchange(broken_told_, true) && shared->callbacks.on_broken) {
    shared->callbacks.on_broken();
  }
  if (!shared->destroyed && queued_bytes() == 0 && shared->callbacks.on_drained) {
    shared->callbacks.on_drained();
  }
}

void LineChannel::close_writing() {
  if (!out_source_) {
    (void)::shutdown(in_.get(), SHUT_WR);
    return;
  }
  out_source_->set_events(0);
  out_.reset();
}

}  // namespace hal::io
