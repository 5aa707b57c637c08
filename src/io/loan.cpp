#include "io/loan.hpp"

#include <functional>
#include <utility>

namespace hal::io {

namespace {

/** A smaller part is copied: that costs less than a buffer that has to be made anew. */
constexpr std::size_t least_bytes = 256 * 1024;
/** At least this part of the memory; a buffer that grew to hold a line is more than half full. */
constexpr std::size_t least_share = 4;

Loan*& innermost() {
  static Loan* loan = nullptr;  // a process has one loop and one thread
  return loan;
}

}  // namespace

Loan::Loan(ByteBuffer& buffer, std::size_t bytes) noexcept
    : buffer_(buffer),
      bytes_(bytes),
      view_(buffer.view().substr(0, bytes)),
      capacity_(buffer.capacity()),
      outer_(std::exchange(innermost(), this)) {}

Loan::~Loan() {
  innermost() = outer_;
  if (kept_) {
    buffer_.append(kept_->view().substr(bytes_));
  } else {
    buffer_.consume(bytes_);
  }
}

Loan::Kept Loan::kept(std::string_view part) {
  for (auto* loan = innermost(); loan != nullptr; loan = loan->outer_) {
    if (loan->worth_keeping(part)) {
      if (!loan->kept_) {
        loan->kept_ = std::make_shared<const ByteBuffer>(std::move(loan->buffer_));
      }
      return loan->kept_;
    }
  }
  return nullptr;
}

bool Loan::worth_keeping(std::string_view part) const noexcept {
  const std::less_equal<> not_after;  // also for addresses of different memory
  return part.size() >= least_bytes && part.size() >= capacity_ / least_share && not_after(view_.data(), part.data()) &&
         not_after(part.data() + part.size(), view_.data() + view_.size());
}

}  // namespace hal::io
