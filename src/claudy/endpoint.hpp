#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string_view>

namespace hal::claudy {

/**
 * A descriptor that never blocks us and whose blocking mode nobody else sees change: standard input and output share
 * their open file with the shell and its other programs. Terminals and pipes are opened once more, sockets asked not
 * to block call by call; only where the kernel refuses both is the shared mode changed, and changed back at the end.
 */
class Endpoint {
 public:
  enum class Direction { read, write };

  /** For one of our standard descriptors, which stays open. */
  [[nodiscard]] static Result<Endpoint> standard(int fd, Direction direction);
  /** For a descriptor that is ours alone. */
  [[nodiscard]] static Result<Endpoint> own(UniqueFd fd);

  Endpoint(Endpoint&& other) noexcept;
  Endpoint& operator=(Endpoint&&) = delete;
  ~Endpoint();

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /** False for files and devices that epoll does not take because they are always ready. */
  [[nodiscard]] bool pollable() const noexcept { return pollable_; }

  /** As read(2) and write(2), with EAGAIN where they would block. No SIGPIPE of sockets. */
  [[nodiscard]] ssize_t read(char* buffer, std::size_t bytes) const noexcept;
  [[nodiscard]] ssize_t write(std::string_view data) const noexcept;

  /** For a socket: the other side reads an end of file. Does nothing on what is no socket. */
  void finish_writing() const noexcept;
  /** The other side's writes fail from now on. It cannot be read any more. */
  void finish_reading() noexcept;

 private:
  explicit Endpoint(UniqueFd fd);

  UniqueFd fd_;
  bool socket_ = false;
  bool pollable_ = true;
  /** Flags of the open file we changed, to be set again. */
  std::optional<int> restore_flags_;
};

}  // namespace hal::claudy
