#pragma once

#include "io/loan.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct iovec;

namespace hal::io {

/** Bytes that wait, in order, in pieces: copies, and large parts of what is on loan, which stay where they are. */
class Pieces {
 public:
  Pieces() = default;
  /** One piece that is there already. */
  Pieces(std::string whole);  // NOLINT(google-explicit-constructor): a text is bytes that wait
  explicit Pieces(std::span<const std::string_view> parts) { append(parts); }

  void append(std::string_view bytes) { append(std::span(&bytes, 1)); }
  void append(std::span<const std::string_view> parts);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /** How many pieces there are. */
  [[nodiscard]] std::size_t count() const noexcept { return size_ == 0 ? 0 : pieces_.size() - first_; }

  /** The first pieces, as many as `vector` has room for; how many. */
  [[nodiscard]] std::size_t fill(std::span<iovec> vector) const noexcept;
  /** Copies what stands from `offset` on, as much as `to` has room for; how much. */
  std::size_t copy(std::size_t offset, std::span<char> to) const noexcept;
  /** Drops bytes at the front. */
  void consume(std::size_t bytes) noexcept;

 private:
  struct Piece {
    /** Unset: own. */
    Loan::Kept kept;
    std::string_view part;
    std::string own;

    [[nodiscard]] std::string_view view() const noexcept { return kept ? part : std::string_view(own); }
  };

  /** The place for so many copied bytes. */
  [[nodiscard]] std::string& room(std::size_t bytes);
  [[nodiscard]] std::string_view piece(std::size_t index) const noexcept;
  void forget() noexcept;

  /** Those before first_ are consumed. */
  std::vector<Piece> pieces_;
  std::size_t first_ = 0;
  /** Bytes of the first one that are consumed. */
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

}  // namespace hal::io
