#include "component/curl_script_server.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace hal::test {

namespace {

std::size_t content_length(std::string_view header) {
  const auto start = header.find("Content-Length: ");
  if (start == std::string_view::npos) {
    return 0;
  }
  const auto value = header.substr(start + 16);
  return text::to_number<std::size_t>(value.substr(0, value.find('\r'))).value_or(0);
}

}  // namespace

ScriptServer::Connection::Connection(event::Loop& loop, UniqueFd fd, ScriptServer& server)
    : server_(server), fd_(std::move(fd)) {
  source_ = std::make_unique<event::Io>(loop, fd_.get(), EPOLLIN, "script:connection",
                                        [this](std::uint32_t events) { on_ready(events); });
}

void ScriptServer::Connection::send(std::string_view bytes) {
  out_.append(bytes);
  update();
}

void ScriptServer::Connection::finish() {
  finish_ = true;
  update();
}

void ScriptServer::Connection::cut() {
  source_.reset();
  fd_.reset();
}

void ScriptServer::Connection::update() {
  if (fd_) {
    const bool write = queued() != 0 || finish_;
    source_->set_events((peer_gone_ ? 0U : EPOLLIN) | (write ? EPOLLOUT : 0U));
  }
}

void ScriptServer::Connection::on_ready(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    read_some();
  }
  if (fd_ && (events & EPOLLOUT) != 0) {
    write_some();
  }
}

void ScriptServer::Connection::read_some() {
  char buffer[65536];
  const auto bytes = ::read(fd_.get(), buffer, sizeof buffer);
  if (bytes <= 0) {
    peer_gone_ = true;
    return cut();
  }
  in_.append(buffer, static_cast<std::size_t>(bytes));
  const auto header_end = in_.find("\r\n\r\n");
  if (header_end == std::string::npos) {
    return;
  }
  const auto length = content_length(std::string_view(in_).substr(0, header_end + 2));
  if (in_.size() < header_end + 4 + length) {
    return;
  }
  Request request;
  const auto words = text::split(std::string_view(in_).substr(0, in_.find("\r\n")), ' ');
  request.method = words.at(0);
  request.target = words.at(1);
  request.header = in_.substr(0, header_end + 2);
  request.body = in_.substr(header_end + 4, length);
  in_.erase(0, header_end + 4 + length);
  server_.on_request(*this, request);
}

void ScriptServer::Connection::write_some() {
  const auto bytes = ::send(fd_.get(), out_.data() + out_done_, std::min(piece_, queued()), MSG_NOSIGNAL);
  if (bytes < 0 && errno != EAGAIN) {
    return cut();
  }
  out_done_ += bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
  if (queued() == 0 && finish_) {
    return cut();
  }
  update();
}

ScriptServer::ScriptServer(event::Loop& loop, std::string path, Script script)
    : loop_(loop), path_(std::move(path)), script_(std::move(script)) {
  listen();
}

ScriptServer::~ScriptServer() {
  vanish();
}

void ScriptServer::vanish() {
  source_.reset();
  listener_.reset();
  ::unlink(path_.c_str());
  for (const auto& connection : connections_) {
    connection->cut();  // freed later: one of them may be running the script that called this
  }
}

void ScriptServer::listen() {
  listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), 1024) != 0) {
    throw_errno("listen on " + path_);
  }
  source_ = std::make_unique<event::Io>(loop_, listener_.get(), EPOLLIN, "script:listen",
                                        [this](std::uint32_t) { on_accept(); });
}

void ScriptServer::on_accept() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd) {
    ++accepted_;
    std::erase_if(connections_, [](const auto& connection) { return !connection->open(); });
    connections_.push_back(std::make_shared<Connection>(loop_, std::move(fd), *this));
  }
}

void ScriptServer::on_request(Connection& connection, const Request& request) {
  seen_.push_back(request.method + " " + request.target);
  const auto found =
      std::ranges::find(connections_, &connection, [](const ConnectionPtr& entry) { return entry.get(); });
  script_(request, ConnectionPtr(*found));
}

std::string http(int status, std::string_view body, std::string_view more_headers) {
  return fmt::format("HTTP/1.1 {} x\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), more_headers, body);
}

std::string http_chunked(int status) {
  return fmt::format("HTTP/1.1 {} x\r\nTransfer-Encoding: chunked\r\n\r\n", status);
}

std::string chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

}  // namespace hal::test
