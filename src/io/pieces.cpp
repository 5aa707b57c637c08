#include "io/pieces.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace hal::io {

namespace {

/** Copies share a piece up to this; its memory is given back when all of it is consumed. */
constexpr std::size_t piece_bytes = 64 * 1024;
/** With nothing to hold so much memory is kept. */
constexpr std::size_t keep_bytes = 8 * 1024;
constexpr std::size_t keep_pieces = 16;

}  // namespace

Pieces::Pieces(std::string whole) : size_(whole.size()) {
  if (!whole.empty()) {
    pieces_.push_back({nullptr, {}, std::move(whole)});
  }
}

void Pieces::append(std::span<const std::string_view> parts) {
  std::size_t run = 0;  // bytes to be copied one after the other, in one allocation
  const auto copy_run = [&](std::span<const std::string_view> copied) {
    if (run > 0) {
      auto& own = room(run);
      for (const auto part : copied) {
        own += part;
      }
      size_ += std::exchange(run, 0);
    }
  };
  std::size_t begin = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (auto kept = Loan::kept(parts[i])) {
      copy_run(parts.subspan(begin, i - begin));
      pieces_.push_back({std::move(kept), parts[i], {}});
      size_ += parts[i].size();
      begin = i + 1;
    } else {
      run += parts[i].size();
    }
  }
  copy_run(parts.subspan(begin));
}

std::string& Pieces::room(std::size_t bytes) {
  if (pieces_.empty() || pieces_.back().kept || (size_ > 0 && pieces_.back().own.size() + bytes > piece_bytes)) {
    pieces_.emplace_back().own.reserve(bytes);
  }
  return pieces_.back().own;
}

std::string_view Pieces::piece(std::size_t index) const noexcept {
  return pieces_[index].view().substr(index == first_ ? begin_ : 0);
}

std::size_t Pieces::fill(std::span<iovec> vector) const noexcept {
  const std::size_t filled = std::min(count(), vector.size());
  for (std::size_t i = 0; i < filled; ++i) {
    const auto bytes = piece(first_ + i);
    vector[i] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  return filled;
}

std::size_t Pieces::copy(std::size_t offset, std::span<char> to) const noexcept {
  std::size_t copied = 0;
  for (std::size_t i = first_; i < first_ + count() && copied < to.size(); ++i) {
    const auto bytes = piece(i);
    const auto skipped = std::min(offset, bytes.size());
    const auto part = bytes.substr(skipped, to.size() - copied);
    offset -= skipped;
    std::memcpy(to.data() + copied, part.data(), part.size());
    copied += part.size();
  }
  return copied;
}

void Pieces::consume(std::size_t bytes) noexcept {
  size_ -= bytes;
  if (size_ == 0) {
    return forget();
  }
  begin_ += bytes;
  while (begin_ >= pieces_[first_].view().size()) {
    begin_ -= pieces_[first_].view().size();
    pieces_[first_++] = {};
  }
  if (first_ > pieces_.size() / 2) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

/** All is consumed. A little memory stays for what comes next. */
void Pieces::forget() noexcept {
  first_ = begin_ = 0;
  if (pieces_.empty()) {
    return;
  }
  auto last = std::move(pieces_.back());
  pieces_.clear();
  if (pieces_.capacity() > keep_pieces) {
    pieces_.shrink_to_fit();
  }
  if (!last.kept && last.own.capacity() <= keep_bytes) {
    last.own.clear();
    pieces_.push_back(std::move(last));
  }
}

}  // namespace hal::io
