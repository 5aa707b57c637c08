#pragma once

#include "io/byte_buffer.hpp"

#include <cstddef>
#include <memory>
#include <string_view>

namespace hal::io {

/**
 * The first bytes of a buffer while they are handed on. Who has to keep a large part of them for later keeps the
 * buffer's memory (kept()) instead of copying: so a message of 64 MiB is there once, however many wait for it. At the
 * end of the loan the bytes are consumed, and the buffer goes on with what stood behind them, in memory of its own
 * where the other was kept. Until then nobody may touch the buffer. Not for threads.
 */
class Loan {
 public:
  Loan(ByteBuffer& buffer, std::size_t bytes) noexcept;
  ~Loan();
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;

  using Kept = std::shared_ptr<const ByteBuffer>;
  /**
   * What keeps `part` where it is; null where that is on no loan, or is not worth it: it must be large, and a good part
   * of all the memory that would be kept with it, so that counting the part's bytes bounds the memory.
   */
  [[nodiscard]] static Kept kept(std::string_view part);

 private:
  [[nodiscard]] bool worth_keeping(std::string_view part) const noexcept;

  ByteBuffer& buffer_;
  std::size_t bytes_;
  std::string_view view_;
  std::size_t capacity_;
  Loan* outer_;
  /** The buffer's memory, once somebody has kept a part. */
  Kept kept_;
};

}  // namespace hal::io
