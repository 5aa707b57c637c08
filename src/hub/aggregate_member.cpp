#include "hub/aggregate_member.hpp"

#include "base/text.hpp"
#include "hub/aggregate_session.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Of a session's name: as many digits as the client's are its own, then random ones. */
constexpr std::size_t own_digits = 16;

std::string joined(Parts parts) {
  std::size_t size = 0;
  for (const auto part : parts) {
    size += part.size();
  }
  std::string line;
  line.reserve(size);
  for (const auto part : parts) {
    line += part;
  }
  return line;
}

}  // namespace

AggregateMember::AggregateMember(AggregateSession& session, std::string name)
    : session_(session), name_(std::move(name)) {}

AggregateMember::~AggregateMember() {
  leave();
}

void AggregateMember::begin() {
  if (state_ != State::away) {
    return;
  }
  id_ = session_.new_client();
  session_id_ = session_.client_session().substr(0, own_digits) + text::random_hex(own_digits);
  auto server = session_.join(*this);
  if (!server) {
    return session_.on_member_failed(*this, jsonrpc::code_of(server.error().code), server.error().message);
  }
  server_ = *server;
  state_ = State::greeting;
  deadline = session_.now() + session_.joining_deadline();
  session_.arm_deadline();
  initialize_id_ = session_.own_id();
  to_server(jsonrpc::request(initialize_id_, "initialize", session_.initialize_params()));
}

void AggregateMember::send(std::string line) {
  if (state_ == State::up && !end_reason_ && held_.empty()) {
    return to_server(line);
  }
  if (held_bytes_ + line.size() > limits::waiting_bytes) {
    return session_.refuse_held(*this, line);
  }
  held_bytes_ += line.size();
  held_.push_back(std::move(line));
  begin();
}

void AggregateMember::send_later(std::string line) {
  outbox_.push_back(std::move(line));
  session_.schedule();
}

void AggregateMember::to_server(std::string_view line) {
  server_->from_client(*this, jsonrpc::scan(line), line);
}

std::deque<std::string> AggregateMember::take_held() {
  held_bytes_ = 0;
  return std::exchange(held_, {});
}

void AggregateMember::work() {
  for (const auto& line : std::exchange(outbox_, {})) {
    if (server_ != nullptr && !end_reason_) {
      to_server(line);
    }
  }
  for (const auto& line : std::exchange(inbox_, {})) {
    const auto message = jsonrpc::scan(line);
    if (state_ == State::greeting && message.id == initialize_id_) {
      on_hello(message);
    } else {
      session_.on_own_answer(*this, message);
    }
  }
  if (end_reason_) {
    const auto reason = *end_reason_;
    const bool was_up = state_ == State::up;
    leave();
    if (!was_up) {
      return session_.on_member_failed(*this, jsonrpc::internal_error, reason);
    }
    session_.on_member_lost(*this, reason);
  }
  if (!held_.empty()) {
    begin();
  }
}

void AggregateMember::on_hello(const jsonrpc::Envelope& message) {
  auto hello = message.kind == jsonrpc::Kind::result ? read_member_hello(message.outcome)
                                                     : Result<MemberHello>(Error{Errc::protocol, ""});
  if (!hello) {
    const auto reason = message.kind == jsonrpc::Kind::result ? "answered initialize wrongly: " + hello.error().message
                                                              : error_message(message.outcome);
    const int code = error_code(message.outcome);
    leave();
    return session_.on_member_failed(*this, code, reason);
  }
  hello_ = std::move(*hello);
  state_ = State::up;
  deadline.reset();
  retry_at.reset();
  retry_after = {};
  to_server(jsonrpc::notification("notifications/initialized", ""));
  session_.on_member_up(*this);
  std::string().swap(hello_.instructions);
  while (!held_.empty() && !end_reason_) {
    const auto line = std::move(held_.front());
    held_.pop_front();
    held_bytes_ -= line.size();
    to_server(line);
  }
}

void AggregateMember::leave() {
  if (auto* server = std::exchange(server_, nullptr); server != nullptr) {
    server->remove(*this);
  }
  detach();
}

void AggregateMember::detach() {
  server_ = nullptr;
  state_ = State::away;
  deadline.reset();
  end_reason_.reset();
  inbox_.clear();
  outbox_.clear();
  hold(false);
}

void AggregateMember::client_drained() {
  if (server_ != nullptr) {
    server_->client_drained(*this);
  }
}

// From the server: nothing here calls back into it.

void AggregateMember::deliver(Parts message) {
  const auto line = joined(message);
  session_.on_question(*this, jsonrpc::scan(line), line);
}

void AggregateMember::respond(std::string_view id, Parts message) {
  if (!session_.is_own_id(id)) {
    return session_.on_answer(*this, id, message);
  }
  inbox_.push_back(joined(message));
  session_.schedule();
}

void AggregateMember::notify(Parts message) {
  const auto line = joined(message);
  session_.on_notification_from(*this, jsonrpc::scan(line), line);
}

std::size_t AggregateMember::backlog() const {
  return session_.backlog();
}

void AggregateMember::hold(bool held) {
  if (std::exchange(holds_client_, held) != held) {
    session_.hold(held);
  }
}

void AggregateMember::end(const std::string& reason) {
  end_reason_ = reason;
  session_.schedule();
}

}  // namespace hal::hub
