#pragma once

#include "base/result.hpp"
#include "worker/runtime.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace hal::engine {

/** Reads the engine's event stream: one JSON object a line, in pieces of any size. */
class EventReader {
 public:
  /** An event carries its container's labels; those of an image can be long. */
  static constexpr std::size_t max_line_bytes = std::size_t{1} << 20;

  void feed(std::string_view bytes) { buffer_.append(bytes); }

  /**
   * The next event that concerns us, or nothing until more bytes come. An error (protocol, limit) means that the
   * stream cannot be trusted any more.
   */
  [[nodiscard]] Result<std::optional<worker::ContainerEvent>> next();

 private:
  std::string buffer_;
  /** Up to here it has been read. */
  std::size_t done_ = 0;
};

/** One line of the stream; nothing for an event of no interest. */
[[nodiscard]] Result<std::optional<worker::ContainerEvent>> read_event(std::string_view line);

}  // namespace hal::engine
