#include "engine/log_stream.hpp"

#include "engine/messages.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace hal::engine {

namespace {

/** What epoll reports of a pipe or socket that nobody can read from any more. */
constexpr std::uint32_t reader_gone = EPOLLERR | EPOLLHUP;

}  // namespace

LogStream::LogStream(event::Loop& loop, curl::Multi& multi, const Options& options, Result<std::string> prefix,
                     ContainerId id, const worker::LogOptions& log, UniqueFd sink, Done<void> done)
    : loop_(loop),
      multi_(multi),
      options_(options),
      id_(std::move(id)),
      log_(log),
      done_(std::move(done)),
      finish_(loop, "engine:log-end", [this] { finish({}); }) {
  if (!prefix) {
    finish_later(prefix.error());
  } else if (auto taken = take_sink(std::move(sink)); !taken) {
    finish_later(taken.error());
  } else {
    prefix_ = std::move(*prefix);
    inspect();
  }
}

LogStream::~LogStream() = default;

std::string LogStream::what() const {
  return fmt::format("log of container {}", id_.value.substr(0, 12));
}

Result<void> LogStream::take_sink(UniqueFd sink) {
  struct stat status {};
  if (::fstat(sink.get(), &status) != 0 || (!S_ISFIFO(status.st_mode) && !S_ISSOCK(status.st_mode))) {
    return Error{Errc::invalid_argument, what() + ": it can go into a pipe or a socket only"};
  }
  const int flags = ::fcntl(sink.get(), F_GETFL);
  if (flags < 0 || ::fcntl(sink.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return errno_error(what());
  }
  sink_ = std::move(sink);
  sink_source_ = std::make_unique<event::Io>(loop_, sink_.get(), reader_gone, "engine:log-sink",
                                             [this](std::uint32_t events) { on_sink(events); });
  return {};
}

void LogStream::inspect() {
  auto spec = request_to(options_, "GET", fmt::format("{}/containers/{}/json", prefix_, curl::escape(id_.value)));
  spec.deadlines.total = options_.call_deadline;
  curl::Request::Callbacks callbacks;
  callbacks.on_done = [this](const Result<curl::Response>& response) { on_inspect(response); };
  request_ = std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks));
}

void LogStream::on_inspect(const Result<curl::Response>& response) {
  if (!response) {
    return finish(connection_error(options_, response.error()).with(what()));
  }
  if (auto status = check_status(response->status, response->body, what(), Errc::busy); !status) {
    return finish(status);
  }
  const auto container = read_inspect(response->body);
  if (!container) {
    return finish(container.error().with(what()));
  }
  terminal_ = container->terminal;
  stream();
}

std::string LogStream::target() const {
  return fmt::format("{}/containers/{}/logs?stdout=1&stderr=1&follow={}&timestamps={}&tail={}", prefix_,
                     curl::escape(id_.value), log_.follow ? 1 : 0, log_.timestamps ? 1 : 0,
                     log_.tail ? std::to_string(*log_.tail) : "all");
}

void LogStream::stream() {
  auto spec = request_to(options_, "GET", target());
  spec.deadlines.answer = options_.call_deadline;
  if (!log_.follow) {
    spec.deadlines.idle = options_.call_deadline;
  }
  curl::Request::Callbacks callbacks;
  callbacks.on_data = [this](std::string_view bytes) { return take(bytes); };
  callbacks.on_done = [this](const Result<curl::Response>& response) { on_stream_end(response); };
  request_ = std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks));
}

void LogStream::on_stream_end(const Result<curl::Response>& response) {
  if (!response) {
    return finish(connection_error(options_, response.error()).with(what()));
  }
  if (auto status = check_status(response->status, response->body, what(), Errc::busy); !status) {
    return finish(status);
  }
  if (!demux_.engine_error().empty()) {
    return finish(Error{Errc::internal, fmt::format("{}: {}", what(), error_text(demux_.engine_error()))});
  }
  if (!demux_.at_border()) {
    return finish(Error{Errc::disconnected, what() + ": it ends inside a frame"});
  }
  finish({});
}

std::size_t LogStream::take(std::string_view bytes) {
  if (result_) {
    return bytes.size();
  }
  return terminal_ ? write(bytes) : take_frames(bytes);
}

std::size_t LogStream::take_frames(std::string_view bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const auto piece = demux_.next(bytes.substr(taken));
    if (!piece) {
      finish_later(piece.error().with(what()));
      return bytes.size();
    }
    const auto written = write(piece->payload);
    demux_.took(written);
    taken += piece->skipped + written;
    if (written < piece->payload.size()) {
      break;
    }
  }
  return taken;
}

std::size_t LogStream::write(std::string_view bytes) {
  std::size_t written = 0;
  while (written < bytes.size() && !result_) {
    const auto n = ::write(sink_.get(), bytes.data() + written, bytes.size() - written);
    if (n >= 0) {
      written += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN) {
      sink_source_->set_events(EPOLLOUT | reader_gone);
      break;
    } else if (errno == EPIPE || errno == ECONNRESET) {
      finish_later({});
    } else if (errno != EINTR) {
      finish_later(errno_error(what()));
    }
  }
  return written;
}

void LogStream::on_sink(std::uint32_t events) {
  if ((events & reader_gone) != 0) {
    return finish({});
  }
  sink_source_->set_events(reader_gone);
  if (request_) {
    request_->resume();
  }
}

void LogStream::finish(Result<void> result) {
  request_.reset();
  sink_source_.reset();
  sink_.reset();
  finish_.cancel();
  if (done_) {
    const auto done = std::exchange(done_, nullptr);
    done(result_ ? std::move(*result_) : std::move(result));
  }
}

void LogStream::finish_later(Result<void> result) {
  result_ = std::move(result);
  finish_.schedule();
}

}  // namespace hal::engine
