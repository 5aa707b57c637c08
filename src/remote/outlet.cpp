#include "remote/outlet.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace hal::remote {

namespace {

/** Queued for the client, or held by one reader, from which on it is much. */
constexpr std::size_t high_bytes = std::size_t{1} << 20;
/** Held by all readers but the large one; with that one and what is queued it fits into the queue for the client. */
constexpr std::size_t all_bytes = std::size_t{8} << 20;

}  // namespace

Outlet::Outlet(event::Loop& loop, UniqueFd in, UniqueFd out, Callbacks callbacks)
    : on_closed_(callbacks.on_closed),
      wake_(loop, "remote:wake", [this] { wake(); }),
      channel_(loop, std::move(in), std::move(out), "remote:stdio",
               {.on_line = std::move(callbacks.on_line),
                .on_overlong = std::move(callbacks.on_overlong),
                .on_closed = [this](const Error&) { on_closed_(); },
                .on_drained = [this] { wake_.schedule(); },
                .on_broken = [this] { on_closed_(); }}) {}

void Outlet::write(std::string_view message) {
  std::string line;
  if (message.find_first_of("\r\n") != std::string_view::npos) {
    line = message;
    std::ranges::replace_if(
        line, [](char c) { return c == '\n' || c == '\r'; }, ' ');
    message = line;
  }
  // A client that is gone is told by on_broken or on_closed.
  if (const auto written = channel_.write_line(message); !written && written.error().code == Errc::limit) {
    log::error({}, "{}", written.error().message);
    on_closed_();
  }
}

void Outlet::brake(bool held) {
  if (held) {
    channel_.pause();
  } else {
    channel_.resume();
  }
}

bool Outlet::may_read(Reader& reader, std::size_t bytes) {
  const auto found = held_.find(&reader);
  const auto before = found != held_.end() ? found->second : 0;
  const bool large = bytes > high_bytes || (bytes > before && held_bytes_ - before + bytes > all_bytes);
  const bool may = channel_.queued_bytes() <= high_bytes && (!large || large_ == nullptr || large_ == &reader);
  if (!may) {
    if (std::ranges::find(waiting_, &reader) == waiting_.end()) {
      waiting_.push_back(&reader);
    }
    return false;
  }
  if (large) {
    large_ = &reader;
  }
  held_bytes_ -= before;
  if (large_ == &reader) {
    held_.erase(&reader);
  } else {
    held_[&reader] = bytes;
    held_bytes_ += bytes;
  }
  return true;
}

void Outlet::release(Reader& reader) {
  if (const auto found = held_.find(&reader); found != held_.end()) {
    held_bytes_ -= found->second;
    held_.erase(found);
  }
  if (large_ == &reader) {
    large_ = nullptr;
  }
  if (!waiting_.empty()) {
    wake_.schedule();
  }
}

void Outlet::forget(Reader& reader) {
  release(reader);
  std::erase(waiting_, &reader);
}

void Outlet::wake() {
  for (auto* reader : std::exchange(waiting_, {})) {
    reader->on_room();
  }
}

}  // namespace hal::remote
