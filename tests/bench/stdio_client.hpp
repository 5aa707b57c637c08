#pragma once

#include "base/error.hpp"
#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace hal::bench {

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

inline Pipe make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    throw_errno("pipe2");
  }
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

/** A client over pipes, as a stdio client of MCP is: small messages are written and read in turn. */
class Client {
 public:
  Client(UniqueFd to, UniqueFd from) : to_(std::move(to)), from_(std::move(from)) {}

  void send(std::string_view line) {
    while (!line.empty()) {
      line.remove_prefix(write_some(line));
    }
  }

  /** Reads until `count` more lines have come. */
  void receive(int count) {
    while (unclaimed_ < count) {
      read_some();
    }
    unclaimed_ -= count;
  }

  /** How many lines one read brings. */
  int receive_some() {
    read_some();
    return std::exchange(unclaimed_, 0);
  }

  /** One large call: both directions fill up, so it reads while it writes. */
  void exchange(std::string_view line) {
    ::fcntl(to_.get(), F_SETFL, O_NONBLOCK);
    while (!line.empty()) {
      pollfd fds[] = {{to_.get(), POLLOUT, 0}, {from_.get(), POLLIN, 0}};
      ::poll(fds, 2, -1);
      if (fds[1].revents != 0) {
        read_some();
      }
      if (fds[0].revents != 0) {
        line.remove_prefix(write_some(line));
      }
    }
    ::fcntl(to_.get(), F_SETFL, 0);
    receive(1);
  }

  void initialize() {
    start_initialize();
    finish_initialize();
  }
  void start_initialize() {
    send(
        R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}})"
        "\n");
  }
  void finish_initialize() {
    receive(1);
    send(R"({"jsonrpc":"2.0","method":"notifications/initialized"})"
         "\n");
  }

  std::string call(std::string_view text, std::string_view tool = "echo") {
    return R"({"jsonrpc":"2.0","id":)" + std::to_string(++id_) + R"(,"method":"tools/call","params":{"name":")" +
           std::string(tool) + R"(","arguments":{"message":")" + std::string(text) + "\"}}}\n";
  }

 private:
  std::size_t write_some(std::string_view bytes) {
    const ssize_t written = ::write(to_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno != EAGAIN) {
      throw_errno("write");
    }
    return static_cast<std::size_t>(std::max<ssize_t>(written, 0));
  }
  void read_some() {
    static char buffer[1 << 18];
    const ssize_t bytes = ::read(from_.get(), buffer, sizeof buffer);
    if (bytes <= 0) {
      throw std::runtime_error("the server closed");
    }
    // A line ends a piece; within one of a large message there is none.
    for (const char* at = buffer;
         (at = static_cast<const char*>(::memchr(at, '\n', static_cast<std::size_t>(buffer + bytes - at)))) != nullptr;
         ++at) {
      ++unclaimed_;
    }
  }

  UniqueFd to_;
  UniqueFd from_;
  int id_ = 0;
  /** Lines that came with those asked for. */
  int unclaimed_ = 0;
};

}  // namespace hal::bench
