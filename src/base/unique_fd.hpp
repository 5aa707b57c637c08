#pragma once

#include <utility>

namespace hal {

/** Owns a file descriptor; closes it exactly once. */
class [[nodiscard]] UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept;

  /** A second descriptor of the same open file, close-on-exec. Invalid when the process has none left. */
  [[nodiscard]] UniqueFd duplicate() const noexcept;

 private:
  int fd_ = -1;
};

}  // namespace hal
