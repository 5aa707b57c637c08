#include "http/event_stream.hpp"

#include "http/http_limits.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include <fmt/format.h>

namespace hal::http {

namespace {

bool has_line_break(std::string_view text) {
  return text.find('\n') != std::string_view::npos || text.find('\r') != std::string_view::npos;
}

}  // namespace

std::string_view flatten(std::span<char> text) {
  const std::string_view view(text.data(), text.size());
  for (const char line_break : {'\n', '\r'}) {
    for (auto at = view.find(line_break); at != std::string_view::npos; at = view.find(line_break, at + 1)) {
      text[at] = ' ';
    }
  }
  return view;
}

void EventStream::add(std::span<const std::string_view> message) {
  const auto head =
      resumable_ ? fmt::format("id: {}\ndata: ", event_id({number_, first_ + events_.size()})) : std::string("data: ");
  std::vector<std::string_view> parts{head};
  std::deque<std::string> flat;  // a deque's elements stay where they are
  for (const auto part : message) {
    parts.push_back(has_line_break(part) ? flatten(flat.emplace_back(part)) : part);
  }
  parts.emplace_back("\n\n");
  const auto& event = events_.emplace_back(parts);
  bytes_ += event.size();
  unread_ += event.size();
}

void EventStream::announce(std::string_view event, std::string_view data) {
  prelude_ = fmt::format("event: {}\ndata: {}\n\n", event, data);
}

void EventStream::open(bool priming) {
  prelude_ = fmt::format("retry: {}\n", limits::retry_ms);
  if (priming) {
    prelude_ += fmt::format("id: {}\ndata: \n", event_id({number_, first_ + next_ - 1}));
  }
  prelude_ += '\n';
}

bool EventStream::rewind(std::uint64_t event) {
  if (event + 1 < first_ || event >= first_ + events_.size()) {
    return false;
  }
  next_ = static_cast<std::size_t>(event + 1 - first_);
  offset_ = 0;
  unread_ = 0;
  for (std::size_t i = next_; i < events_.size(); ++i) {
    unread_ += events_[i].size();
  }
  return true;
}

void EventStream::keep_alive() {
  if (drained()) {
    prelude_ = ":\n\n";
  }
}

std::size_t EventStream::read(std::span<char> buffer) {
  const std::size_t from_prelude = std::min(buffer.size(), offset_ == 0 ? prelude_.size() : 0);
  std::memcpy(buffer.data(), prelude_.data(), from_prelude);
  prelude_.erase(0, from_prelude);
  std::size_t filled = from_prelude;
  while (filled < buffer.size() && next_ < events_.size()) {
    const auto& event = events_[next_];
    const std::size_t bytes = event.copy(offset_, buffer.subspan(filled));
    filled += bytes;
    offset_ += bytes;
    if (offset_ == event.size()) {
      unread_ -= offset_;
      offset_ = 0;
      ++next_;
    }
  }
  return filled;
}

void EventStream::forget() {
  first_ += events_.size();
  events_.clear();
  next_ = offset_ = unread_ = bytes_ = 0;
}

void EventStream::keep(std::size_t bytes) {
  while (bytes_ > bytes && next_ > 0) {
    bytes_ -= events_.front().size();
    events_.pop_front();
    ++first_;
    --next_;
  }
}

}  // namespace hal::http
