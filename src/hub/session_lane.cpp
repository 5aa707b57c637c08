#include "hub/session_lane.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "hub/era.hpp"
#include "hub/handshake.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

SessionLane::SessionLane(SessionServer& server, ServerContext& context, Client& client)
    : server_(server),
      client_(client),
      loop_(context.loop),
      slot_(context, server.name(), link::SessionId{client.session()}, static_cast<InstanceSlot::Listener&>(*this)),
      deadline_(context.loop, "deadlines of session " + client.session(), [this] { on_deadline(); }) {}

SessionLane::~SessionLane() = default;

void SessionLane::from_client(const jsonrpc::Envelope& message, std::string_view line) {
  if (message.kind == jsonrpc::Kind::request && !admit(message, line)) {
    return;
  }
  if (message.kind == jsonrpc::Kind::notification && message.method() == "notifications/cancelled") {
    if (const auto number = in_flight_.find_of(client_.id(), jsonrpc::id_key(message.request_id))) {
      (void)in_flight_.take(*number);
      arm_deadline();
    }
  }
  if (slot_.running() && held_.empty()) {
    return send(line);
  }
  hold(line);
}

bool SessionLane::admit(const jsonrpc::Envelope& message, std::string_view line) {
  const auto client = client_.id();
  if (in_flight_.find_of(client, jsonrpc::id_key(message.id))) {
    server_.fail(client_, message.id, jsonrpc::invalid_request, "a request with this id is in flight");
    return false;
  }
  const auto most = server_.config().max_requests != 0 ? server_.config().max_requests : limits::requests_in_flight;
  if (in_flight_.count_of(client) >= most) {
    server_.fail(client_, message.id, jsonrpc::code_of(Errc::limit),
                 fmt::format("too many requests in flight at server {}", server_.name()));
    return false;
  }
  if (message.method() == "initialize") {
    initialize_id_ = message.id;
    initialize_line_ = line;
  }
  Request request;
  request.purpose = Purpose::forward;
  request.client = client;
  request.id = message.id;
  if (const auto timeout = server_.config().request_timeout_ms; timeout != 0) {
    request.deadline = loop_.now() + std::chrono::milliseconds(timeout);
  }
  (void)in_flight_.add(std::move(request));
  arm_deadline();
  return true;
}

void SessionLane::send(std::string_view line) {
  if (const auto sent = slot_.send(line); !sent && sent.error().code == Errc::limit) {
    const auto reason = fmt::format("server {}: {}", server_.name(), sent.error().message);
    fail_requests(jsonrpc::code_of(Errc::limit), reason);
    return client_.end(reason);
  }
  if (slot_.queued_bytes() > limits::server_high_bytes) {
    client_.hold(true);
  }
}

void SessionLane::hold(std::string_view line) {
  if (held_bytes_ + line.size() > limits::waiting_bytes) {
    const auto reason = fmt::format("too much waits for server {} to start", server_.name());
    fail_requests(jsonrpc::code_of(Errc::limit), reason);
    return client_.end(reason);
  }
  held_bytes_ += line.size();
  held_.emplace_back(line);
  if (const auto wanted = slot_.want(); !wanted) {
    on_instance_unavailable(wanted.error().message);
  }
}

void SessionLane::client_drained() {
  slot_.hold(false);
}

void SessionLane::close() {
  for (const auto number : in_flight_.of(client_.id())) {
    (void)slot_.send(jsonrpc::notification(
        "notifications/cancelled",
        fmt::format(R"({{"requestId":{},"reason":"the client is gone"}})", in_flight_.find(number)->id)));
  }
  slot_.release();
}

void SessionLane::shut_down(const std::string& reason) {
  fail_requests(jsonrpc::code_of(Errc::unavailable), reason);
  slot_.release();
  client_.end(reason);
}

void SessionLane::on_instance_running() {
  for (const auto& line : std::exchange(held_, {})) {
    send(line);
  }
  held_bytes_ = 0;
}

void SessionLane::on_server_message(const jsonrpc::Envelope& message, std::string_view line) {
  const std::array parts{line};
  if (message.is_response()) {
    on_response(message, line);
  } else if (message.kind == jsonrpc::Kind::request) {
    server_.ask(client_, parts);
  } else {
    server_.notify(client_, parts);
  }
  if (client_.backlog() > limits::client_high_bytes) {
    slot_.hold(true);
  }
}

void SessionLane::on_response(const jsonrpc::Envelope& message, std::string_view line) {
  const auto number = in_flight_.find_of(client_.id(), jsonrpc::id_key(message.id));
  if (!number) {
    log::debug({{names::field_server, server_.name()}, {names::field_session, client_.session()}},
               "a response to nothing asked, or a late one");
    return;
  }
  (void)in_flight_.take(*number);
  if (!initialize_id_.empty() && message.id == initialize_id_) {
    initialize_id_.clear();
    const auto initialize = std::exchange(initialize_line_, {});
    if (message.kind == jsonrpc::Kind::error && refuses_legacy(message.outcome)) {
      slot_.release();
      fail_requests(jsonrpc::internal_error, fmt::format("server {} is asked anew", server_.name()));
      return server_.turn_modern(client_, initialize);
    }
    if (auto hello = read_server_hello(message.outcome)) {
      revision_ = hello->revision;
      server_.set_identity(std::move(hello->revision), std::move(hello->server_info));
    }
  }
  server_.pass_answer(client_, message.id, message, line);
}

void SessionLane::on_server_overlong(std::size_t bytes) {
  server_.count_error();
  const auto open = in_flight_.of(client_.id());
  if (open.size() == 1) {
    const auto request = in_flight_.take(open.front());
    server_.fail(client_, request.id, jsonrpc::internal_error,
                 fmt::format("server {} answered with a line of {} bytes, more than {}", server_.name(), bytes,
                             limits::mcp_line_bytes));
  }
}

void SessionLane::on_server_drained() {
  client_.hold(false);
}

void SessionLane::on_instance_ended(const std::string& reason) {
  log::warning({{names::field_server, server_.name()}, {names::field_session, client_.session()}}, "server {} {}",
               server_.name(), reason);
  const auto sentence = fmt::format("server {} {}", server_.name(), reason);
  fail_requests(jsonrpc::internal_error, sentence);
  client_.end(sentence);
}

void SessionLane::on_instance_unavailable(const std::string& reason) {
  held_.clear();
  held_bytes_ = 0;
  fail_requests(jsonrpc::code_of(Errc::unavailable),
                fmt::format("server {} is not available: {}", server_.name(), reason));
  client_.hold(false);
}

void SessionLane::fail_requests(int code, const std::string& reason) {
  for (const auto& request : in_flight_.take_all()) {
    server_.fail(client_, request.id, code, reason);
  }
}

void SessionLane::arm_deadline() {
  const auto now = loop_.now();
  std::optional<Clock::time_point> next;
  if (!in_flight_.overdue(now, next).empty()) {
    next = now;
  }
  if (next) {
    deadline_.arm(std::chrono::duration_cast<std::chrono::microseconds>(*next - now));
  } else {
    deadline_.disarm();
  }
}

void SessionLane::on_deadline() {
  const auto now = loop_.now();
  std::optional<Clock::time_point> next;
  for (const auto number : in_flight_.overdue(now, next)) {
    const auto request = in_flight_.take(number);
    (void)slot_.send(jsonrpc::notification("notifications/cancelled",
                                           fmt::format(R"({{"requestId":{},"reason":"timed out"}})", request.id)));
    server_.fail(client_, request.id, jsonrpc::request_timeout,
                 fmt::format("server {} did not answer in time", server_.name()));
  }
  arm_deadline();
}

}  // namespace hal::hub
