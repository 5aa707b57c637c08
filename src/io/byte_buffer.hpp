#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace hal::io {

/**
 * Bytes that wait: appended at the end, consumed from the front, in one piece. Empty it holds no more than a page or
 * two; the memory of a large one is kept, one for the whole process, for the next large one, because the kernel takes
 * longer to hand out fresh pages than we take to fill them. Not for threads.
 */
class ByteBuffer {
 public:
  ByteBuffer() = default;
  /** All of the parts, one after the other. */
  explicit ByteBuffer(std::span<const std::string_view> parts);
  /** The bytes stay where they are; `other` is empty then. */
  ByteBuffer(ByteBuffer&& other) noexcept
      : memory_(std::move(other.memory_)),
        capacity_(std::exchange(other.capacity_, 0)),
        begin_(std::exchange(other.begin_, 0)),
        end_(std::exchange(other.end_, 0)) {}
  ByteBuffer& operator=(ByteBuffer&&) = delete;
  ~ByteBuffer();

  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  [[nodiscard]] std::string_view view() const noexcept { return {memory_.get() + begin_, size()}; }
  [[nodiscard]] std::span<char> bytes() noexcept { return {memory_.get() + begin_, size()}; }

  void append(std::string_view bytes);
  /** Space for at least `bytes` behind the end, to be filled by the caller, who then says how many came. */
  [[nodiscard]] char* room(std::size_t bytes);
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /** How much room() has without growing. */
  [[nodiscard]] std::size_t free_room() const noexcept { return capacity_ - end_; }
  void filled(std::size_t bytes) noexcept { end_ += bytes; }
  void consume(std::size_t bytes) noexcept;

 private:
  struct Free {
    void operator()(char* memory) const noexcept { std::free(memory); }
  };
  using Memory = std::unique_ptr<char[], Free>;
  struct Spare {
    Memory memory;
    std::size_t capacity = 0;
  };

  [[nodiscard]] static Spare& spare();
  void grow(std::size_t capacity);
  void give_back() noexcept;

  Memory memory_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace hal::io
