#pragma once

#include "http/rules.hpp"
#include "io/pieces.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>

namespace hal::http {

/**
 * The events of one server-sent event stream: those that wait to be read, and some that have been read, for a client
 * that lost them on the way. Bytes out; whoever owns the connection pulls them with read().
 */
class EventStream {
 public:
  /** `resumable`: a client may come back to it, so its events have ids. */
  explicit EventStream(std::uint64_t number, bool resumable = true) : number_(number), resumable_(resumable) {}

  [[nodiscard]] std::uint64_t number() const { return number_; }

  /** A message, one JSON text, possibly in pieces. */
  void add(std::span<const std::string_view> message);
  /** The first thing a connection reads: an event of this kind. */
  void announce(std::string_view event, std::string_view data);
  /** The last one has been added: read() ends the stream after it. */
  void finish() { finished_ = true; }
  [[nodiscard]] bool finished() const { return finished_; }

  /**
   * A connection begins to read here: the first thing it reads tells when to come back and, with `priming`, an id to
   * come back with (an event without data, which clients of revisions before 2025-11-25 take for a broken message).
   */
  void open(bool priming);
  /** Back to the event after this one. False where that is not kept any more, or never was. */
  [[nodiscard]] bool rewind(std::uint64_t event);
  /** A comment, if nothing else is there to be read. */
  void keep_alive();

  /** Up to buffer.size() bytes of what was not read yet. */
  [[nodiscard]] std::size_t read(std::span<char> buffer);
  /** All has been read. */
  [[nodiscard]] bool drained() const { return prelude_.empty() && next_ == events_.size(); }
  /** Bytes that were not read yet. */
  [[nodiscard]] std::size_t unread() const { return prelude_.size() + unread_; }
  /** Bytes of events, read or not. */
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  /** Forgets events that were read beyond `bytes`, the oldest first. */
  void keep(std::size_t bytes);
  /** Forgets all events; their numbers are not used again. */
  void forget();
  /** The broken connection's half-read event is read again from its start. */
  void disconnected() { offset_ = 0; }

 private:
  std::uint64_t number_;
  bool resumable_;
  /** Sent before the events. */
  std::string prelude_;
  /** Texts of the events; the first one has the number first_. */
  std::deque<io::Pieces> events_;
  std::uint64_t first_ = 1;
  /** The next one to read, counted in events_, and the bytes of it that were read. */
  std::size_t next_ = 0;
  std::size_t offset_ = 0;
  std::size_t unread_ = 0;
  std::size_t bytes_ = 0;
  bool finished_ = false;
};

/** Makes `text` one line: line breaks, which JSON has between its tokens only, become blanks. */
std::string_view flatten(std::span<char> text);

}  // namespace hal::http
