#include "daemon/chroma_heartbeat.hpp"

#include <string>
#include <utility>

namespace hal::daemon {

namespace {

constexpr const char heartbeat_url[] = "http://127.0.0.1:8000/api/v2/heartbeat";
constexpr auto heartbeat_deadline = std::chrono::milliseconds(3000);
constexpr std::size_t max_answer_bytes = 4096;

}  // namespace

ChromaHeartbeat::ChromaHeartbeat(curl::Multi& multi, host::NetSockets& sockets) : multi_(multi), sockets_(sockets) {}

void ChromaHeartbeat::ask(pid_t holder, Done<void> done) {
  request_.reset();
  asking_.emplace();
  const auto made = [this, done = std::move(done)](Result<UniqueFd> socket) {
    if (!socket) {
      return done(socket.error());
    }
    request(*std::move(socket), done);
  };
  sockets_.unconnected(holder, asking_->wrap(made));
}

void ChromaHeartbeat::request(UniqueFd socket, Done<void> done) {
  curl::RequestSpec spec;
  spec.url = heartbeat_url;
  spec.socket = std::move(socket);
  spec.deadlines.total = heartbeat_deadline;
  spec.max_body_bytes = max_answer_bytes;
  spec.reuse_connection = false;
  curl::Request::Callbacks callbacks;
  callbacks.on_done = [done = std::move(done)](const Result<curl::Response>& response) {
    if (!response) {
      return done(response.error());
    }
    if (response->status != 200) {
      return done(Error{Errc::unavailable, "ChromaDB answers with status " + std::to_string(response->status)});
    }
    done({});
  };
  request_ = std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks));
}

}  // namespace hal::daemon
