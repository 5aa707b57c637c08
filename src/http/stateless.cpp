#include "http/stateless.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "http/session.hpp"
#include "hub/era.hpp"
#include "io/loan.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::http {

namespace {

Answer accepted_answer() {
  return {202, {{"Cache-Control", "no-store"}}, {}};
}

/** A JSON-RPC error response as an answer. */
Answer bad_request(std::string body) {
  return {400, {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}}, std::move(body)};
}

}  // namespace

Stateless::Stateless(event::Loop& loop, const Times& times, std::string id, WorkerId worker, std::string server,
                     Listener& listener)
    : loop_(loop),
      times_(times),
      id_(std::move(id)),
      worker_(std::move(worker)),
      server_(std::move(server)),
      listener_(listener),
      last_used_(loop.now()),
      over_(loop, "end of stateless " + id_, [this] { listener_.on_stateless_over(*this); }),
      deadline_(loop, "deadline of stateless " + id_, [this] { over_.schedule(); }),
      tools_deadline_(loop, "tools of stateless " + id_, [this] { tools_known(); }),
      tools_next_(loop, "tools of stateless " + id_, [this] { tools_cursor_.empty() ? tools_known() : ask_tools(); }),
      drained_(loop, "drained stateless " + id_, [this] { backend_->client_drained(); }),
      go_on_(loop, "stateless " + id_ + " goes on", [this] { update_reading(); }) {}

Stateless::~Stateless() {
  for (const auto& [number, call] : calls_) {
    if (call.exchange != nullptr) {
      call.exchange->abandon();
    }
  }
  for (const auto& queue : {waiting_, unchecked_}) {
    for (auto* exchange : queue) {
      exchange->set_owner(nullptr);
    }
  }
}

void Stateless::post(Exchange& exchange, const jsonrpc::Envelope& message) {
  touch();
  if (message.kind == jsonrpc::Kind::notification) {
    return exchange.answer(accepted_answer());  // this revision has none over HTTP
  }
  if (message.kind != jsonrpc::Kind::request) {
    return exchange.answer(error_answer(400, jsonrpc::invalid_request, "one request or notification, not a response"));
  }
  if (auto refusal = check(exchange, message)) {
    return exchange.answer(std::move(*refusal));
  }
  if (message.method() == "tools/call" && tools_state_ != Tools::known) {
    wait(unchecked_, exchange);
    if (tools_state_ == Tools::unknown) {
      tools_state_ = Tools::asked;
      tools_meta_ = fmt::format(
          R"({{"io.modelcontextprotocol/protocolVersion":{},"io.modelcontextprotocol/clientCapabilities":{}}})",
          message.meta_protocol_version, message.meta_client_capabilities);
      tools_deadline_.arm(limits::tools_deadline);
      ask_tools();
    }
    return;
  }
  if (held_ || !waiting_.empty()) {
    return wait(waiting_, exchange);
  }
  take(exchange, message);
}

std::optional<Answer> Stateless::check(const Exchange& exchange, const jsonrpc::Envelope& message) const {
  const auto& head = exchange.head();
  const auto mismatch = [&](std::string_view what) {
    return error_answer(400, jsonrpc::header_mismatch, what, message.id);
  };
  if (message.meta_protocol_version.starts_with('"')) {
    if (!head.protocol_version) {
      return mismatch("MCP-Protocol-Version header is required");
    }
    if (*head.protocol_version != jsonrpc::unescape(message.meta_protocol_version)) {
      return mismatch("MCP-Protocol-Version is another than the body's");
    }
  }
  if (auto refusal = hub::modern_refusal(message)) {
    return bad_request(std::move(*refusal));
  }
  if (const auto what = header_mismatch(head, message)) {
    return mismatch(*what);
  }
  if (message.method() == "subscriptions/listen" && !accepted(head).events) {
    return error_answer(406, jsonrpc::invalid_request, "Accept must name text/event-stream", message.id);
  }
  return std::nullopt;
}

void Stateless::wait(std::deque<Exchange*>& queue, Exchange& exchange) {
  exchange.set_owner(static_cast<ExchangeOwner*>(this));
  queue.push_back(&exchange);
}

void Stateless::take(Exchange& exchange, const jsonrpc::Envelope& message) {
  if (message.method() == "tools/call") {
    if (const auto what = header_mismatch(exchange.head(), tools_, message)) {
      exchange.set_owner(nullptr);
      return exchange.answer(error_answer(400, jsonrpc::header_mismatch, *what, message.id));
    }
  }
  const auto number = next_number_++;
  auto& call = calls_[number];
  call.exchange = &exchange;
  call.accepted = accepted(exchange.head());
  call.id = message.id;
  call.token = message.meta_progress_token;
  call.wants_log = !message.meta_log_level.empty();
  call.lists_tools = message.method() == "tools/list";
  call.since = loop_.now();
  exchange.stream = number;
  exchange.set_owner(static_cast<ExchangeOwner*>(this));
  exchange.watch_client();
  const fmt::format_int fresh(number);
  jsonrpc::Splice splice(exchange.body().view());
  splice.replace(message.id, {fresh.data(), fresh.size()});
  splice.replace(message.meta_progress_token, {fresh.data(), fresh.size()});
  io::ByteBuffer line(splice.parts());
  exchange.body().consume(exchange.body().size());
  const io::Loan loan(line, line.size());
  const auto text = line.view();
  backend_->from_client(jsonrpc::scan(text), text);
}

void Stateless::hold(bool held) {
  held_ = held;
  if (!held) {
    go_on_.schedule();  // we are inside of the server
  }
}

void Stateless::update_reading() {
  while (!held_ && !waiting_.empty()) {
    auto* exchange = waiting_.front();
    waiting_.pop_front();
    take(*exchange, jsonrpc::scan(exchange->body().view()));
  }
}

// Tools.

void Stateless::ask_tools() {
  ++tools_pages_;
  tools_number_ = next_number_++;
  const auto line = jsonrpc::request(
      fmt::format_int(tools_number_).c_str(), "tools/list",
      fmt::format(R"({{"_meta":{}{}{}}})", tools_meta_, tools_cursor_.empty() ? "" : R"(,"cursor":)", tools_cursor_));
  backend_->from_client(jsonrpc::scan(line), line);
}

void Stateless::on_tools(const jsonrpc::Envelope& answer) {
  tools_number_ = 0;
  tools_cursor_.clear();
  tools_refused_ = answer.kind == jsonrpc::Kind::error;
  if (answer.kind == jsonrpc::Kind::result) {
    tools_.learn(answer.outcome);
    const auto cursor = jsonrpc::member(answer.outcome, "nextCursor");
    tools_cursor_ = cursor.starts_with('"') && tools_pages_ < limits::tools_pages ? cursor : std::string_view();
  }
  tools_next_.schedule();  // we are inside of the server
}

void Stateless::tools_known() {
  tools_deadline_.disarm();
  tools_state_ = tools_refused_ ? Tools::unknown : Tools::known;  // the next call asks again
  tools_refused_ = false;
  for (auto* exchange : std::exchange(unchecked_, {})) {
    const auto message = jsonrpc::scan(exchange->body().view());
    if (held_ || !waiting_.empty()) {
      wait(waiting_, *exchange);
    } else {
      take(*exchange, message);
    }
  }
}

// The end of a request, and of all.

void Stateless::on_exchange_over(Exchange& exchange) {
  touch();
  if (std::erase(waiting_, &exchange) > 0 || std::erase(unchecked_, &exchange) > 0) {
    return;
  }
  cancel(exchange);
}

/** The client has closed its end. A stream breaks off; what was not answered yet is, to nobody. */
void Stateless::on_exchange_left(Exchange& exchange) {
  const auto found = calls_.find(exchange.stream);
  if (found == calls_.end() || found->second.answered) {
    return;  // what has been answered may still be on its way
  }
  const bool is_stream = found->second.events != nullptr;
  cancel(exchange);
  exchange.set_owner(nullptr);
  if (is_stream) {
    exchange.abandon();
  } else {
    exchange.answer(error_answer(400, jsonrpc::invalid_request, "the client is gone"));
  }
}

void Stateless::cancel(Exchange& exchange) {
  const auto found = calls_.find(exchange.stream);
  if (found == calls_.end() || found->second.exchange != &exchange) {
    return;
  }
  const bool open = !found->second.answered;
  calls_.erase(found);
  recount();
  if (open && !ended_) {
    const auto line = jsonrpc::notification(
        "notifications/cancelled", fmt::format(R"({{"requestId":{},"reason":"the client is gone"}})", exchange.stream));
    backend_->from_client(jsonrpc::scan(line), line);
  }
  over_if_done();
}

void Stateless::tick() {
  const auto now = loop_.now();
  for (auto& [number, call] : calls_) {
    if (call.events != nullptr) {
      call.events->keep_alive();
      call.exchange->wake();
    } else if (!call.answered && call.accepted.events && now - call.since >= times_.keep_alive) {
      start_events(call);
    }
  }
  if (!calls_.empty() || !waiting_.empty() || !unchecked_.empty()) {
    touch();
  } else if (!ended_ && now - last_used_ > times_.session_idle) {
    end("nobody used it");
  }
}

void Stateless::end(const std::string& reason) {
  if (std::exchange(ended_, true)) {
    return;
  }
  log::debug({{names::field_worker, worker_.value}, {names::field_session, id_}}, "stateless ends: {}", reason);
  for (auto* queue : {&waiting_, &unchecked_}) {
    for (auto* exchange : std::exchange(*queue, {})) {
      exchange->set_owner(nullptr);
      exchange->answer(error_answer(503, jsonrpc::internal_error, reason));
    }
  }
  for (auto& [number, call] : calls_) {
    if (call.answered) {
      continue;
    }
    const auto line = jsonrpc::error_response(call.id, jsonrpc::internal_error, reason);
    const auto message = jsonrpc::scan(line);
    put_answer(call, message, line, {});
  }
  deadline_.arm(limits::ending);
  over_if_done();
}

void Stateless::over_if_done() {
  if (ended_ && calls_.empty()) {
    over_.schedule();
  }
}

}  // namespace hal::http
