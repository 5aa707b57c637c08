#pragma once

#include "base/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hal::engine {

/**
 * Takes apart the engine's log stream of a container without a terminal: frames of an 8-byte header (stream, three
 * zero bytes, big-endian length) and that many bytes. Holds no payload: it points into what it is shown.
 *
 *     while (!input.empty()) {
 *       auto piece = demux.next(input);        // header bytes are done with: piece->skipped
 *       input.remove_prefix(piece->skipped);
 *       took = write(piece->payload);          // as much as goes
 *       demux.took(took);
 *       input.remove_prefix(took);
 *     }
 */
class LogDemux {
 public:
  /** Lines are cut by the engine at 16 KiB, by some log drivers at 1 MiB; more than this is no frame. */
  static constexpr std::size_t max_frame_bytes = std::size_t{16} << 20;
  /** Of what the engine says when it cannot read the log any further. */
  static constexpr std::size_t max_error_bytes = 4096;

  struct Piece {
    /** Bytes of `input` that were header, or the engine's own error text. */
    std::size_t skipped = 0;
    /** Follows them; empty if the next header is not complete yet. */
    std::string_view payload;
  };

  /** Errc::protocol when `input` is no frame. */
  [[nodiscard]] Result<Piece> next(std::string_view input);
  /** `bytes` of the last piece's payload are done with. */
  void took(std::size_t bytes) noexcept { left_ -= bytes; }

  /** Whether the stream may end here: not inside a frame. */
  [[nodiscard]] bool at_border() const noexcept { return header_bytes_ == 0 && left_ == 0; }
  /** What the engine said of an error of its own, cut at max_error_bytes; empty if it did not. */
  [[nodiscard]] const std::string& engine_error() const noexcept { return engine_error_; }

 private:
  enum class Stream : std::uint8_t { input = 0, output = 1, error = 2, engine = 3 };

  /** The bytes of `input` used; the header may need more. */
  std::size_t fill_header(std::string_view input);
  Result<void> read_header();

  std::array<unsigned char, 8> header_{};
  std::size_t header_bytes_ = 0;
  /** Of the current frame. */
  std::size_t left_ = 0;
  Stream stream_ = Stream::output;
  std::string engine_error_;
};

}  // namespace hal::engine
