#pragma once

#include "relay/line_scanner.hpp"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace hal::relay {

/**
 * What goes from the gateway to the client. A line is given out when it is whole, so that one cut by a lost connection
 * leaves no trace; one longer than the buffer is given out as it comes. Pure.
 */
class GatewaySide {
 public:
  /** Whether it takes more bytes now. */
  [[nodiscard]] bool wants() const;

  enum class Verdict { deliver, swallow };
  using OnLine = std::function<Verdict(const Line& line)>;
  /** Takes bytes; `on_line` is asked at the end of each line. Long lines are delivered, whatever it says. */
  void append(std::string_view bytes, const OnLine& on_line);

  /** A line of ours for the client (or several, each with its newline); goes between lines of the gateway. */
  void add(std::string_view lines);

  /** The bytes to write next; empty when nothing waits. */
  [[nodiscard]] std::string_view next() const;
  /** So many of next() have been written. */
  void written(std::size_t count);

  /** As those of the other direction. */
  [[nodiscard]] bool holds_much() const;
  void give_back();

  /** The connection is gone: drops the line that had begun, or ends it where a part of it was given out already. */
  void connection_lost();

 private:
  std::string buffer_;
  std::size_t begin_ = 0;   ///< Written up to here.
  std::size_t ready_ = 0;   ///< To be written up to here; behind it stands the beginning of a line.
  bool streaming_ = false;  ///< The line at the end is a long one, being given out in parts.
  std::string after_line_;  ///< Lines of ours that wait for the end of a long one.
  LineScanner scanner_;
};

}  // namespace hal::relay
