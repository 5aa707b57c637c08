#pragma once

#include "base/limits.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace hal::remote {

/** One event of an event stream. */
struct Event {
  /** "message" where the stream names none. */
  std::string type;
  std::string data;
};

/**
 * Reads an event stream (WHATWG HTML, 9.2.6) as its bytes come. An event over the limit is passed over as it comes in;
 * the next one is read as usual.
 */
class EventParser {
 public:
  explicit EventParser(std::size_t max_event_bytes = limits::mcp_line_bytes) : max_event_bytes_(max_event_bytes) {}

  /** Takes bytes up to the end of the next event, which it puts into `event`, or all of them. How many it took. */
  [[nodiscard]] std::size_t feed(std::string_view bytes, std::optional<Event>& event);

  /** Where the stream can be taken up again; empty where it cannot. */
  [[nodiscard]] const std::string& last_id() const { return last_id_; }
  /** How long the server asks to wait before that. */
  [[nodiscard]] std::optional<std::chrono::milliseconds> retry() const { return retry_; }
  /** Bytes of an event that is not whole yet. */
  [[nodiscard]] std::size_t pending() const { return line_.size() + data_.size(); }
  /** Events passed over since this was asked last. */
  [[nodiscard]] std::size_t take_overlong();

 private:
  void end_line(std::optional<Event>& event);
  void take_field();
  void dispatch(std::optional<Event>& event);
  void append(std::string_view bytes);

  std::size_t max_event_bytes_;
  std::string line_;
  std::string type_;
  std::string data_;
  bool has_data_ = false;
  /** Of the event that is being read. */
  std::optional<std::string> id_;
  std::string last_id_;
  std::optional<std::chrono::milliseconds> retry_;
  /** The last byte was a carriage return: a newline belongs to it. */
  bool after_return_ = false;
  bool first_line_ = true;
  /** Up to its end the event is passed over. */
  bool skipping_ = false;
  /** The line that is being passed over has bytes. */
  bool skipped_line_ = false;
  std::size_t overlong_ = 0;
};

}  // namespace hal::remote
