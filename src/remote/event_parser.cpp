#include "remote/event_parser.hpp"

#include "base/text.hpp"

#include <utility>

namespace hal::remote {

namespace {

/** An id goes into a header of the next request. */
constexpr std::size_t max_id_bytes = 4096;
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

bool is_id(std::string_view text) {
  return text.size() <= max_id_bytes && text.find_first_of(std::string_view("\0\r\n", 3)) == std::string_view::npos;
}

}  // namespace

std::size_t EventParser::take_overlong() {
  return std::exchange(overlong_, 0);
}

std::size_t EventParser::feed(std::string_view bytes, std::optional<Event>& event) {
  std::size_t at = 0;
  while (at < bytes.size() && !event) {
    if (std::exchange(after_return_, false) && bytes[at] == '\n') {
      ++at;
      continue;
    }
    const auto end = bytes.find_first_of("\r\n", at);
    append(bytes.substr(at, end - at));
    if (end == std::string_view::npos) {
      return bytes.size();
    }
    after_return_ = bytes[end] == '\r';
    at = end + 1;
    end_line(event);
  }
  return at;
}

void EventParser::append(std::string_view bytes) {
  if (!skipping_ && pending() + bytes.size() > max_event_bytes_) {
    skipping_ = true;
    skipped_line_ = !line_.empty();
    ++overlong_;
    std::string().swap(line_);
    std::string().swap(data_);
  }
  if (skipping_) {
    skipped_line_ = skipped_line_ || !bytes.empty();
  } else {
    line_ += bytes;
  }
}

void EventParser::end_line(std::optional<Event>& event) {
  if (skipping_) {
    if (!std::exchange(skipped_line_, false)) {
      skipping_ = false;
      has_data_ = false;
      dispatch(event);
    }
    return;
  }
  if (std::exchange(first_line_, false) && line_.starts_with(byte_order_mark)) {
    line_.erase(0, byte_order_mark.size());
  }
  if (line_.empty()) {
    return dispatch(event);
  }
  take_field();
  line_.clear();
}

void EventParser::take_field() {
  const auto colon = line_.find(':');
  const auto name = std::string_view(line_).substr(0, colon);
  std::size_t start = colon == std::string::npos ? line_.size() : colon + 1;
  if (start < line_.size() && line_[start] == ' ') {
    ++start;
  }
  if (name == "data") {
    if (!std::exchange(has_data_, true)) {  // one large line is not copied
      line_.erase(0, start);
      data_ = std::move(line_);
      line_ = {};
    } else {
      data_ += '\n';
      data_ += std::string_view(line_).substr(start);
    }
    return;
  }
  const auto value = std::string_view(line_).substr(start);
  if (name == "event") {
    type_ = value;
  } else if (name == "id" && is_id(value)) {
    id_ = value;
  } else if (name == "retry") {
    if (const auto number = text::to_number<std::uint32_t>(value)) {
      retry_ = std::chrono::milliseconds(*number);
    }
  }
}

/** An event without data is none, but its id counts. */
void EventParser::dispatch(std::optional<Event>& event) {
  if (id_) {
    last_id_ = *std::exchange(id_, std::nullopt);
  }
  auto type = std::exchange(type_, {});
  auto data = std::exchange(data_, {});
  if (std::exchange(has_data_, false) && !data.empty()) {
    event = Event{type.empty() ? "message" : std::move(type), std::move(data)};
  }
}

}  // namespace hal::remote
