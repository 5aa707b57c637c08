#include "hub/caller.hpp"

#include "base/text.hpp"
#include "hub/handshake.hpp"
#include "hub/hub_limits.hpp"
#include "json/json.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::hub {

namespace {

constexpr std::string_view initialize_id = "0";
constexpr std::string_view call_id = "1";

/** A server's error, as our own codes tell it. */
Error error_of(std::string_view outcome) {
  const auto object = json::parse(outcome);
  if (!object) {
    return {Errc::protocol, "the server answered with an error that is no object"};
  }
  const auto code = json::integer_at(*object, "code").value_or(jsonrpc::internal_error);
  const auto message = json::string_at(*object, "message").value_or("no message");
  for (const auto ours : {Errc::unavailable, Errc::limit, Errc::timed_out, Errc::invalid_argument}) {
    if (jsonrpc::code_of(ours) == code) {
      return {ours, message};
    }
  }
  if (code == jsonrpc::method_not_found) {
    return {Errc::invalid_argument, message};
  }
  return {Errc::protocol, fmt::format("{} (code {})", message, code)};
}

}  // namespace

Caller::Caller(event::Loop& loop, ClientId id, std::string method, std::string params, Done<std::string> done)
    : id_(id),
      session_(text::random_hex(32)),
      method_(std::move(method)),
      params_(std::move(params)),
      done_(std::move(done)),
      work_(loop, "call " + method_, [this] { work(); }),
      deadline_(loop, "deadline of call " + method_, [this] {
        finish(Error{Errc::timed_out,
                     fmt::format("no answer within {} s", std::chrono::seconds(limits::call_deadline).count())});
      }) {
  deadline_.arm(limits::call_deadline);
}

Caller::~Caller() = default;

void Caller::start(Server& server) {
  server_ = &server;
  send(jsonrpc::request(initialize_id, "initialize", server_hello_params({})));
}

void Caller::detach(const std::string& reason) {
  server_ = nullptr;
  end(reason);
}

void Caller::deliver(Parts message) {
  std::string line;
  for (const auto part : message) {
    line += part;
  }
  inbox_.push_back(std::move(line));
  work_.schedule();
}

void Caller::end(const std::string& reason) {
  end_reason_ = reason;
  work_.schedule();
}

void Caller::send(const std::string& line) {
  server_->from_client(*this, jsonrpc::scan(line), line);
}

/** One line a turn: answering may destroy us. */
void Caller::work() {
  if (!inbox_.empty()) {
    const auto line = std::move(inbox_.front());
    inbox_.pop_front();
    work_.schedule();
    return on_line(line);
  }
  if (!end_reason_.empty()) {
    finish(Error{Errc::unavailable, end_reason_});
  }
}

void Caller::on_line(std::string_view line) {
  const auto message = jsonrpc::scan(line);
  if (message.is_response()) {
    return on_answer(message);
  }
  if (message.kind == jsonrpc::Kind::request && server_ != nullptr) {
    const bool is_ping = message.method() == "ping";
    send(is_ping ? jsonrpc::result_response(message.id, "{}")
                 : jsonrpc::error_response(message.id, jsonrpc::method_not_found, "nobody is here to answer that"));
  }
}

void Caller::on_answer(const jsonrpc::Envelope& message) {
  const bool is_ours = message.id == (step_ == Step::initialize ? initialize_id : call_id);
  if (!is_ours) {
    return;
  }
  if (message.kind == jsonrpc::Kind::error) {
    return finish(error_of(message.outcome));
  }
  if (step_ == Step::call) {
    if (message.outcome.size() > link::max_call_bytes) {
      return finish(Error{Errc::limit, fmt::format("a result of {} bytes is too large", message.outcome.size())});
    }
    return finish(std::string(message.outcome));
  }
  step_ = Step::call;
  if (server_ != nullptr) {
    send(jsonrpc::notification("notifications/initialized", ""));
    send(jsonrpc::request(call_id, method_, params_));
  }
}

void Caller::finish(Result<std::string> result) {
  if (const auto done = std::exchange(done_, nullptr); done) {
    done(std::move(result));  // destroys us
  }
}

}  // namespace hal::hub
