#pragma once

#include "base/unique_fd.hpp"
#include "support/component.hpp"

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/** The client's and the gateway's ends of the real hal9000-mcp. All waits have a scaled deadline. */
namespace hal::test {

/** One end of a byte stream, read by lines or whole. */
class Stream {
 public:
  Stream() = default;
  explicit Stream(UniqueFd fd) : fd_(std::move(fd)) {}

  /** The next line with its newline; what is there when the stream ends or the deadline passes. */
  [[nodiscard]] std::string line(std::chrono::milliseconds deadline = 10s);
  /** True if the other end closes before the deadline, with nothing more to read. */
  [[nodiscard]] bool ended(std::chrono::milliseconds deadline = 10s);
  /** All to the end. */
  [[nodiscard]] std::string rest(std::chrono::milliseconds deadline = 10s);
  /** Writes all, reading nothing meanwhile. */
  [[nodiscard]] bool write(std::string_view bytes);

  void close() { fd_.reset(); }
  void half_close();
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(fd_); }

 private:
  bool fill(std::chrono::steady_clock::time_point end);

  UniqueFd fd_;
  std::string buffer_;
};

/** hal9000-mcp as a child, its stdin and stdout pipes. Killed with the object. */
class RelayProcess {
 public:
  explicit RelayProcess(const std::vector<std::string>& arguments, const std::string& stderr_path = "/dev/null");
  ~RelayProcess();
  RelayProcess(const RelayProcess&) = delete;
  RelayProcess& operator=(const RelayProcess&) = delete;

  Stream in;
  Stream out;
  void signal(int number) const;
  /** The wait status; nothing when it does not end within the scaled deadline. */
  [[nodiscard]] std::optional<int> wait(std::chrono::milliseconds deadline = 10s);

 private:
  pid_t pid_ = -1;
};

/** The gateway's listening socket. */
class Gateway {
 public:
  explicit Gateway(std::string path);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /** The next connection, its opening line still unread. */
  [[nodiscard]] Stream accept(std::chrono::milliseconds deadline = 10s);
  /** The next connection, greeted with session "s1". */
  [[nodiscard]] Stream session(std::chrono::milliseconds deadline = 10s);

 private:
  std::string path_;
  UniqueFd socket_;
};

}  // namespace hal::test
