#include "claudy/pump.hpp"

#include <sys/epoll.h>

#include <cerrno>
#include <string_view>
#include <utility>

namespace hal::claudy {

namespace {

/** A pipe's size: more at once brings nothing. */
constexpr std::size_t chunk_bytes = 65'536;

}  // namespace

Pump::Pump(event::Loop& loop, Endpoint source, Endpoint sink, const std::string& name, Callbacks callbacks)
    : source_(std::move(source)),
      sink_(std::move(sink)),
      callbacks_(std::move(callbacks)),
      again_(loop, name + ":again", [this] { on_source(); }) {
  if (source_.pollable()) {
    source_io_.emplace(loop, source_.fd(), EPOLLIN, name + ":source", [this](std::uint32_t) { on_source(); });
  }
  if (sink_.pollable()) {
    // EPOLLERR alone: a reader that goes away is noticed before there is something to write.
    sink_io_.emplace(loop, sink_.fd(), EPOLLERR, name + ":sink", [this](std::uint32_t events) { on_sink(events); });
  }
  wait();
}

void Pump::drain() {
  draining_ = true;
  if (!ended_) {
    again_.schedule();
  }
}

void Pump::stop() {
  ended_ = true;
  again_.cancel();
  source_io_.reset();
  sink_io_.reset();
}

void Pump::finish(End end) {
  stop();
  const auto on_end = std::move(callbacks_.on_end);
  if (on_end) {
    on_end(end);
  }
}

void Pump::on_source() {
  if (ended_) {
    return;
  }
  if (written_ < buffer_.size()) {
    write_some();
  } else {
    read_some();
  }
}

void Pump::on_sink(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0 && written_ < buffer_.size()) {
    write_some();
  } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    finish(End::sink_closed);
  }
}

void Pump::read_some() {
  buffer_.resize(chunk_bytes);
  written_ = 0;
  const ssize_t bytes = source_.read(buffer_.data(), buffer_.size());
  const int error = errno;
  buffer_.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  if (bytes < 0 && (error == EINTR || (error == EAGAIN && !draining_))) {
    wait();
    return;
  }
  if (bytes <= 0) {  // also EIO, how a terminal says that nobody is on its other side
    finish(End::source_ended);
    return;
  }
  if (callbacks_.on_chunk) {
    callbacks_.on_chunk(buffer_);
    if (ended_) {
      return;
    }
  }
  write_some();
}

void Pump::write_some() {
  while (written_ < buffer_.size()) {
    const ssize_t bytes = sink_.write(std::string_view(buffer_).substr(written_));
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0 && errno != EAGAIN) {
      finish(End::sink_closed);
      return;
    }
    if (bytes <= 0) {
      break;
    }
    written_ += static_cast<std::size_t>(bytes);
  }
  wait();
}

void Pump::wait() {
  const bool writing = written_ < buffer_.size();
  if (source_io_) {
    source_io_->set_events(writing ? 0U : static_cast<std::uint32_t>(EPOLLIN));
  }
  if (sink_io_) {
    sink_io_->set_events(writing ? EPOLLOUT : EPOLLERR);
  }
  if (writing ? !sink_io_ : (!source_io_ || draining_)) {
    again_.schedule();
  }
}

}  // namespace hal::claudy
