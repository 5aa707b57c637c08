#include "io/byte_buffer.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

namespace hal::io {

namespace {

constexpr std::size_t first_bytes = 1024;
/** An empty buffer keeps so much. */
constexpr std::size_t keep_bytes = 8 * 1024;
/** The spare: a message of 1 MiB with what doubling adds. Larger ones are rare enough to be paid for each time. */
constexpr std::size_t spare_bytes = std::size_t{2} << 20;

}  // namespace

ByteBuffer::ByteBuffer(std::span<const std::string_view> parts) {
  std::size_t size = 0;
  for (const auto part : parts) {
    size += part.size();
  }
  (void)room(size);
  for (const auto part : parts) {
    append(part);
  }
}

ByteBuffer::~ByteBuffer() {
  give_back();
}

ByteBuffer::Spare& ByteBuffer::spare() {
  static Spare one;
  return one;
}

void ByteBuffer::append(std::string_view bytes) {
  if (!bytes.empty()) {
    std::memcpy(room(bytes.size()), bytes.data(), bytes.size());
    end_ += bytes.size();
  }
}

char* ByteBuffer::room(std::size_t bytes) {
  if (free_room() < bytes) {
    const std::size_t needed = size() + bytes;
    if (needed <= capacity_ && begin_ >= capacity_ / 2) {  // at most as many bytes are moved as were consumed
      std::memmove(memory_.get(), memory_.get() + begin_, size());
      end_ = size();
      begin_ = 0;
    } else {
      grow(std::bit_ceil(std::max({needed, 2 * capacity_, first_bytes})));  // a spare fits again
    }
  }
  return memory_.get() + end_;
}

void ByteBuffer::grow(std::size_t capacity) {
  const std::size_t bytes = size();
  auto& kept = spare();
  if (kept.capacity >= capacity && capacity > keep_bytes) {
    std::memcpy(kept.memory.get(), memory_.get() + begin_, bytes);
    std::swap(memory_, kept.memory);
    std::swap(capacity_, kept.capacity);
    kept = {};
  } else if (begin_ == 0) {
    auto* larger = static_cast<char*>(std::realloc(memory_.get(), capacity));  // the kernel moves pages, not bytes
    if (larger == nullptr) {
      throw std::bad_alloc();
    }
    (void)memory_.release();
    memory_.reset(larger);
    capacity_ = capacity;
  } else {
    Memory larger(static_cast<char*>(std::malloc(capacity)));
    if (!larger) {
      throw std::bad_alloc();
    }
    std::memcpy(larger.get(), memory_.get() + begin_, bytes);
    memory_ = std::move(larger);
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = bytes;
}

void ByteBuffer::consume(std::size_t bytes) noexcept {
  begin_ += bytes;
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity_ > keep_bytes) {
      give_back();
    }
  }
}

void ByteBuffer::give_back() noexcept {
  auto& kept = spare();
  if (capacity_ > kept.capacity && capacity_ <= spare_bytes) {
    kept = {std::move(memory_), capacity_};
  }
  memory_.reset();
  capacity_ = begin_ = end_ = 0;
}

}  // namespace hal::io
