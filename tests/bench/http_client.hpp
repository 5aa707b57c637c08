#pragma once

#include "gateway.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace hal::bench {

/** Where a server is reached, as the lines of a request say it. */
struct Place {
  sockaddr_in address{};
  std::string path;
  std::string authorization;
};

/** One keep-alive connection, one request at a time. An answer has a length or ends with its last chunk. */
class Connection {
 public:
  /** `body_bytes` are the most of an answer. */
  Connection(const Place& place, std::size_t body_bytes) : fd_(tcp_socket()), place_(place) {
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&place.address), sizeof place.address) != 0) {
      throw_errno("connect");
    }
    const int on = 1;
    (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    buffer_.resize(body_bytes + 65536);
  }

  void send(const std::string& of_session, std::string_view body) {
    std::string request = "POST " + place_.path +
                          " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(ntohs(place_.address.sin_port)) + "\r\n" +
                          place_.authorization +
                          "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n" +
                          (of_session.empty() ? "" : "Mcp-Session-Id: " + of_session + "\r\n") +
                          "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    request += body;
    for (std::string_view rest = request; !rest.empty();) {
      const auto sent = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        throw_errno("send");
      }
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    filled_ = 0;
    head_end_ = 0;
  }

  /** Reads what is there; true once the answer is whole. */
  bool receive_some() {
    const auto bytes = ::recv(fd_.get(), buffer_.data() + filled_, buffer_.size() - filled_, 0);
    if (bytes <= 0) {
      throw std::runtime_error("a connection was closed");
    }
    filled_ += static_cast<std::size_t>(bytes);
    const std::string_view text(buffer_.data(), filled_);
    if (head_end_ == 0) {
      const auto end = text.find("\r\n\r\n");
      if (end == std::string_view::npos) {
        return false;
      }
      read_head(text.substr(0, end));
      head_end_ = end + 4;
    }
    return length_ ? filled_ == head_end_ + *length_ : text.ends_with("0\r\n\r\n");
  }
  void receive() {
    while (!receive_some()) {
    }
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

  /** Of the last answer that named one. */
  std::string session;

 private:
  void read_head(std::string_view head) {
    if (head.substr(9, 2) != "20") {
      throw std::runtime_error("an answer that was not expected: " + std::string(head));
    }
    length_.reset();
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
      at += 2;
      std::string line(head.substr(at, head.find("\r\n", at) - at));
      std::transform(line.begin(), line.begin() + static_cast<long>(line.find(':')), line.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      if (line.starts_with("content-length: ")) {
        length_ = std::strtoul(line.c_str() + 16, nullptr, 10);
      } else if (line.starts_with("mcp-session-id: ")) {
        session = line.substr(16);
      }
    }
  }

  UniqueFd fd_;
  Place place_;
  std::vector<char> buffer_;
  std::size_t filled_ = 0;
  std::size_t head_end_ = 0;
  std::optional<std::size_t> length_;
};

/** Of a new session; `meanwhile` is done while the answer to initialize is awaited. */
inline std::string open_session(const Place& place, const std::function<void()>& meanwhile) {
  Connection first(place, 0);
  first.send("", R"({"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25",)"
                 R"("capabilities":{},"clientInfo":{"name":"bench","version":"1"}}})");
  meanwhile();
  first.receive();
  first.send(first.session, R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
  first.receive();
  return first.session;
}

}  // namespace hal::bench
