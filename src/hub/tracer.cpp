#include "hub/tracer.hpp"

#include "hub/hub_limits.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** A busy loop comes to the lines before it is idle when there are so many bytes of them. */
constexpr std::size_t flush_bytes = std::size_t{32} << 10;

}  // namespace

Tracer::Tracer(event::Loop& loop, link::Trace request, std::function<void(Tracer&)> on_closed)
    : request_(std::move(request)),
      on_closed_(std::move(on_closed)),
      flush_(
          loop, "trace", [this] { flush(); }, event::Priority::idle),
      // A pipe nobody reads any more is in error.
      source_(loop, request_.pipe.get(), EPOLLERR, "trace reader", [this](std::uint32_t events) { on_ready(events); }) {
  (void)::fcntl(request_.pipe.get(), F_SETFL, O_NONBLOCK);  // the daemon gave it: it is a pipe
}

Tracer::~Tracer() = default;

/** The daemon's own calls are of no worker, so they are nobody's but for those who see all. */
bool Tracer::sees(const Access& access) const {
  const bool is_own = !access.worker.value.empty() && access.owner == request_.owner;
  return (request_.all || is_own) && (request_.worker.empty() || request_.worker == access.worker.value);
}

void Tracer::add(std::string_view line) {
  if (lost_ != 0 || waiting_.size() + line.size() > limits::trace_bytes) {
    ++lost_;
    return;
  }
  waiting_ += line;
  if (waiting_.size() >= flush_bytes) {
    return flush();
  }
  flush_.schedule();
}

void Tracer::end(std::string_view line) {
  tell_lost();
  waiting_ += line;
  blocked_ = false;
  flush();
}

void Tracer::on_ready(std::uint32_t events) {
  if ((events & EPOLLERR) != 0) {
    return on_closed_(*this);
  }
  blocked_ = false;
  source_.set_events(EPOLLERR);
  flush();
}

void Tracer::tell_lost() {
  if (lost_ != 0) {
    waiting_ += fmt::format("{{\"lost\":{}}}\n", std::exchange(lost_, 0));
  }
}

void Tracer::flush() {
  while (!blocked_ && !waiting_.empty()) {
    const auto bytes = ::write(request_.pipe.get(), waiting_.data(), waiting_.size());
    if (bytes > 0) {
      waiting_.erase(0, static_cast<std::size_t>(bytes));
      if (waiting_.empty()) {
        tell_lost();
      }
    } else if (errno != EINTR) {
      blocked_ = true;  // until it takes more; if the reader has gone the loop tells that too
      source_.set_events(EPOLLERR | EPOLLOUT);
    }
  }
}

}  // namespace hal::hub
