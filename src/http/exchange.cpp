#include "http/exchange.hpp"

#include "http/web_server.hpp"

#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include <cassert>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace hal::http {

namespace {

/** For streams to clients of HTTP/1.0 only; chunks are written into the connection's own memory. */
constexpr std::size_t block_bytes = 1024;

void add_headers(MHD_Response* response, const Headers& headers) {
  for (const auto& [name, value] : headers) {
    (void)MHD_add_response_header(response, name, value.c_str());
  }
}

void delete_pieces(void* pieces) {
  delete static_cast<io::Pieces*>(pieces);
}

/** Null where there is no memory for it. The library sends from where the bytes are. */
MHD_Response* make_response(io::Pieces body) {
  if (body.empty()) {
    return MHD_create_response_from_buffer(0, nullptr, MHD_RESPMEM_PERSISTENT);
  }
  std::vector<iovec> places(body.count());
  (void)body.fill(places);
  std::vector<MHD_IoVec> vector;
  vector.reserve(places.size());
  for (const auto& place : places) {
    vector.push_back({place.iov_base, place.iov_len});
  }
  auto owned = std::make_unique<io::Pieces>(std::move(body));
  auto* response =
      MHD_create_response_from_iovec(vector.data(), static_cast<unsigned>(vector.size()), delete_pieces, owned.get());
  if (response != nullptr) {
    (void)owned.release();
  }
  return response;
}

}  // namespace

Exchange::Exchange(WebServer& server, MHD_Connection* connection, std::string method, std::string path)
    : server_(server), connection_(connection), method_(std::move(method)), path_(std::move(path)) {}

Exchange::~Exchange() {
  if (response_ != nullptr) {
    MHD_destroy_response(response_);
  }
}

void Exchange::answer(Answer answer) {
  assert(state_ == State::waiting && response_ == nullptr);
  response_ = make_response(std::move(answer.body));
  if (response_ == nullptr) {
    throw std::bad_alloc();
  }
  status_ = answer.status;
  add_headers(response_, answer.headers);
  state_ = State::answered;
  resume();
}

void Exchange::begin_stream(const Headers& headers) {
  assert(state_ == State::waiting && response_ == nullptr);
  response_ = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, block_bytes, WebServer::on_read, this, nullptr);
  if (response_ == nullptr) {
    throw std::bad_alloc();
  }
  status_ = MHD_HTTP_OK;
  add_headers(response_, headers);
  state_ = State::answered;
  resume();
}

void Exchange::wake() {
  resume();
}

void Exchange::watch_client() {
  const auto* info = MHD_get_connection_info(connection_, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (info == nullptr) {
    return;
  }
  client_.emplace(server_.loop_, info->connect_fd, EPOLLRDHUP, "http client", [this](std::uint32_t) {
    client_->set_events(0);
    if (owner_ != nullptr) {
      owner_->on_exchange_left(*this);
    }
  });
}

void Exchange::abandon() {
  owner_ = nullptr;
  resume();
}

void Exchange::suspend() {
  suspended_ = true;
  MHD_suspend_connection(connection_);
}

void Exchange::resume() {
  if (std::exchange(suspended_, false)) {
    MHD_resume_connection(connection_);
    server_.again_.schedule();
  }
}

std::ptrdiff_t Exchange::read(std::span<char> buffer) {
  if (owner_ == nullptr) {
    return MHD_CONTENT_READER_END_OF_STREAM;
  }
  if (const auto bytes = owner_->on_exchange_read(*this, buffer); bytes > 0) {
    return static_cast<std::ptrdiff_t>(bytes);
  }
  if (owner_ == nullptr || owner_->on_exchange_at_end(*this)) {
    return MHD_CONTENT_READER_END_OF_STREAM;
  }
  suspend();
  return 0;
}

}  // namespace hal::http
