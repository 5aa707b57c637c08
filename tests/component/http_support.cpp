#include "http_support.hpp"

#include "support/component.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <functional>

#include <gtest/gtest.h>

namespace hal::http::test {

UniqueFd listen_tcp(std::uint16_t& port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(fd.get(), 64), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  port = ntohs(address.sin_port);
  return fd;
}

HttpPeer::HttpPeer(event::Loop& loop, std::uint16_t port)
    : loop_(loop), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), port_(port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  (void)::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int on = 1;
  (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  source_ = std::make_unique<event::Io>(loop, fd_.get(), EPOLLIN, "http peer", [this](std::uint32_t) { read_some(); });
}

void HttpPeer::read_some() {
  if (!out_.empty()) {
    const auto sent = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    out_.erase(0, sent > 0 ? static_cast<std::size_t>(sent) : 0);
    source_->set_events(out_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  }
  char buffer[65536];
  const auto bytes = ::recv(fd_.get(), buffer, sizeof buffer, 0);
  if (bytes > 0) {
    bytes_.append(buffer, static_cast<std::size_t>(bytes));
  } else if (bytes == 0 || (errno != EAGAIN && errno != ENOTCONN)) {
    closed = true;
    source_->set_events(0);
  }
}

void HttpPeer::send_raw(std::string_view bytes) {
  out_ += bytes;
  source_->set_events(EPOLLIN | EPOLLOUT);
}

void HttpPeer::send(const std::string& method, const std::string& path, const Headers& headers,
                    const std::string& body) {
  std::string request = method + " " + path + " HTTP/1.1\r\n";
  bool has_host = false;
  bool has_length = false;
  for (const auto& [name, value] : headers) {
    request += name + ": " + value + "\r\n";
    has_host = has_host || name == "Host";
    has_length = has_length || name == "Content-Length" || name == "Transfer-Encoding";
  }
  if (!has_host) {
    request += "Host: 127.0.0.1:" + std::to_string(port_) + "\r\n";
  }
  if (!has_length && method == "POST") {
    request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  send_raw(request + "\r\n" + body);
}

bool HttpPeer::wait_for(const std::function<bool()>& predicate, const char* what) {
  const bool came = hal::test::run_until(loop_, [&] { return predicate() || closed; }) && predicate();
  if (!came) {
    ADD_FAILURE() << "no " << what << (closed ? ": closed" : "") << " after: " << bytes_ << text_;
  }
  return came;
}

Response HttpPeer::head() {
  Response response;
  if (!wait_for([&] { return bytes_.find("\r\n\r\n") != std::string::npos; }, "head of a response")) {
    return response;
  }
  const auto end = bytes_.find("\r\n\r\n");
  std::string head = bytes_.substr(0, end + 2);
  bytes_.erase(0, end + 4);
  response.status = static_cast<unsigned>(std::stoul(head.substr(9, 3)));
  for (auto at = head.find("\r\n") + 2; at < head.size();) {
    const auto line_end = head.find("\r\n", at);
    const auto line = head.substr(at, line_end - at);
    const auto colon = line.find(": ");
    auto name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    response.headers[name] = line.substr(colon + 2);
    at = line_end + 2;
  }
  chunked_ = response.header("transfer-encoding") == "chunked";
  last_chunk_ = false;
  text_.clear();
  return response;
}

Response HttpPeer::response() {
  auto response = head();
  if (chunked_) {
    EXPECT_TRUE(ends());
    response.body = std::move(text_);
    return response;
  }
  const auto length = response.header("content-length");
  const std::size_t size = length.empty() ? 0 : std::stoul(length);
  if (wait_for([&] { return bytes_.size() >= size; }, "whole body")) {
    response.body = bytes_.substr(0, size);
    bytes_.erase(0, size);
  }
  return response;
}

void HttpPeer::dechunk() {
  while (chunked_ && !last_chunk_) {
    const auto line_end = bytes_.find("\r\n");
    if (line_end == std::string::npos) {
      return;
    }
    const auto size = std::stoul(bytes_.substr(0, line_end), nullptr, 16);
    if (bytes_.size() < line_end + 4 + size) {
      return;
    }
    text_ += bytes_.substr(line_end + 2, size);
    bytes_.erase(0, line_end + 4 + size);
    last_chunk_ = size == 0;
  }
}

std::optional<Event> HttpPeer::event() {
  for (;;) {
    const auto whole = [&] {
      dechunk();
      return text_.find("\n\n") != std::string::npos || last_chunk_;
    };
    if (!wait_for(whole, "event") || text_.find("\n\n") == std::string::npos) {
      return std::nullopt;
    }
    const auto end = text_.find("\n\n");
    std::string block = text_.substr(0, end + 1);
    text_.erase(0, end + 2);
    if (block.front() == ':') {
      ++comments;
      continue;
    }
    Event event;
    for (std::size_t at = 0; at < block.size();) {
      const auto line_end = block.find('\n', at);
      const auto line = block.substr(at, line_end - at);
      at = line_end + 1;
      const auto value = line.substr(std::min(line.size(), line.find(':') + 2));
      if (line.rfind("id:", 0) == 0) {
        event.id = value;
      } else if (line.rfind("data:", 0) == 0) {
        event.data += value;
        event.has_data = true;
      } else if (line.rfind("event:", 0) == 0) {
        event.type = value;
      } else if (line.rfind("retry:", 0) == 0) {
        event.retry = value;
      }
    }
    return event;
  }
}

bool HttpPeer::ends() {
  return wait_for(
      [&] {
        dechunk();
        return last_chunk_;
      },
      "end of the stream");
}

bool HttpPeer::silent() {
  hal::test::run_ready(loop_);
  dechunk();
  return bytes_.empty() && text_.empty();
}

void HttpPeer::resume() {
  source_->set_events(EPOLLIN);
}

void HttpPeer::hang_up() {
  source_.reset();
  fd_.reset();
}

}  // namespace hal::http::test
