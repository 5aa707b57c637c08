#include "engine/log_demux.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace hal::engine {

std::size_t LogDemux::fill_header(std::string_view input) {
  const auto bytes = std::min(input.size(), header_.size() - header_bytes_);
  std::copy_n(input.data(), bytes, header_.begin() + static_cast<std::ptrdiff_t>(header_bytes_));
  header_bytes_ += bytes;
  return bytes;
}

Result<void> LogDemux::read_header() {
  const auto length = (std::size_t{header_[4]} << 24) | (std::size_t{header_[5]} << 16) |
                      (std::size_t{header_[6]} << 8) | std::size_t{header_[7]};
  if (header_[0] > 3 || header_[1] != 0 || header_[2] != 0 || header_[3] != 0) {
    return Error{Errc::protocol, "the log stream has bytes where a frame must begin"};
  }
  if (length > max_frame_bytes) {
    return Error{Errc::protocol, fmt::format("the log stream has a frame of {} bytes", length)};
  }
  stream_ = static_cast<Stream>(header_[0]);
  left_ = length;
  header_bytes_ = 0;
  return {};
}

Result<LogDemux::Piece> LogDemux::next(std::string_view input) {
  Piece piece;
  for (;;) {
    if (left_ == 0) {
      const auto bytes = fill_header(input.substr(piece.skipped));
      piece.skipped += bytes;
      if (header_bytes_ < header_.size()) {
        return piece;
      }
      if (auto read = read_header(); !read) {
        return read.error();
      }
      continue;
    }
    const auto payload = input.substr(piece.skipped, left_);
    if (stream_ != Stream::engine) {
      piece.payload = payload;
      return piece;
    }
    if (payload.empty()) {
      return piece;
    }
    engine_error_.append(payload.substr(0, max_error_bytes - std::min(max_error_bytes, engine_error_.size())));
    piece.skipped += payload.size();
    left_ -= payload.size();
  }
}

}  // namespace hal::engine
