// What a server says to requests without a session: which one it belongs to, and how it is sent.
#include "base/text.hpp"
#include "http/stateless.hpp"
#include "io/loan.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace hal::http {

namespace {

/** The revision names the status of some errors. */
unsigned status_of(const jsonrpc::Envelope& answer) {
  if (answer.kind != jsonrpc::Kind::error) {
    return 200;
  }
  const auto code = jsonrpc::member(answer.outcome, "code");
  if (code == "-32601") {
    return 404;
  }
  return code == "-32020" || code == "-32021" || code == "-32022" ? 400 : 200;
}

}  // namespace

void Stateless::deliver(hub::Parts parts) {
  io::ByteBuffer line(parts);
  const io::Loan loan(line, line.size());
  const auto text = line.view();
  const auto message = jsonrpc::scan(text);
  if (message.is_response()) {
    respond(message, text);
  } else {
    pass(message, text);
  }
}

void Stateless::notify(hub::Parts parts) {
  if (!ended_) {
    const io::ByteBuffer line(parts);
    pass(jsonrpc::scan(line.view()), line.view());
  }
}

Stateless::Call* Stateless::find_call(std::string_view number) {
  const auto found = calls_.find(text::to_number<std::uint64_t>(number).value_or(0));
  return found != calls_.end() && !found->second.answered ? &found->second : nullptr;
}

/** The request that a message without a name on it belongs to; null where it could be one of several. */
Stateless::Call* Stateless::only_call(bool log) {
  Call* only = nullptr;
  for (auto& [number, call] : calls_) {
    if (call.answered || (log && !call.wants_log)) {
      continue;
    }
    if (only != nullptr) {
      return nullptr;
    }
    only = &call;
  }
  return only;
}

void Stateless::respond(const jsonrpc::Envelope& message, std::string_view line) {
  if (tools_number_ != 0 && text::to_number<std::uint64_t>(message.id) == tools_number_) {
    return on_tools(message);
  }
  auto* call = find_call(message.id);
  if (call == nullptr) {
    return;
  }
  if (call->lists_tools && message.kind == jsonrpc::Kind::result) {
    tools_.learn(message.outcome);
  }
  if (backlog_ + line.size() > limits::peer_queue_bytes) {
    const auto refusal = jsonrpc::error_response(call->id, jsonrpc::internal_error,
                                                 "this worker does not read the answers it has already");
    return put_answer(*call, jsonrpc::scan(refusal), refusal, {});
  }
  put_answer(*call, message, line, message.id);
}

/** `id` is the answer's in the line, to become the client's; empty where it is the client's. */
void Stateless::put_answer(Call& call, const jsonrpc::Envelope& message, std::string_view line, std::string_view id) {
  if (call.events == nullptr && (!call.accepted.json || call.accepted.events_first)) {
    start_events(call);
  }
  if (call.events != nullptr) {
    put(call, id, line);
    return finish(call);
  }
  jsonrpc::Splice splice(line);
  splice.replace(id, call.id);
  io::Pieces body(splice.parts());
  call.answered = true;
  call.json_bytes = body.size();
  call.exchange->answer(
      {status_of(message), {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}}, std::move(body)});
  recount();
}

/** A notification goes to the request it names; its name becomes the client's. */
void Stateless::pass(const jsonrpc::Envelope& message, std::string_view line) {
  const auto method = message.method();
  Call* call = nullptr;
  std::string_view name;
  std::string_view clients;
  if (!message.meta_subscription_id.empty()) {
    name = message.meta_subscription_id;
    call = find_call(name);
    clients = call != nullptr ? std::string_view(call->id) : clients;
  } else if (method == "notifications/progress") {
    name = message.progress_token;
    call = find_call(name);
    clients = call != nullptr ? std::string_view(call->token) : clients;
  } else if (method == "notifications/cancelled") {
    if (call = find_call(message.request_id); call != nullptr) {
      if (call->events == nullptr) {
        start_events(*call);
      }
      finish(*call);  // over HTTP a stream ends by its end
    }
    return;
  } else {
    call = only_call(method == "notifications/message");
  }
  const bool can_stream = call != nullptr && (call->events != nullptr || call->accepted.events);
  if (!can_stream || (call->events != nullptr && call->events->unread() > limits::client_notification_bytes)) {
    return;
  }
  if (call->events == nullptr) {
    start_events(*call);
  }
  jsonrpc::Splice splice(line);
  splice.replace(name, clients);
  call->events->add(splice.parts());
  call->exchange->wake();
  recount();
}

void Stateless::put(Call& call, std::string_view id, std::string_view line) {
  jsonrpc::Splice splice(line);
  splice.replace(id, call.id);
  call.events->add(splice.parts());
  call.exchange->wake();
  recount();
}

void Stateless::start_events(Call& call) {
  call.events = std::make_unique<EventStream>(call.exchange->stream, false);
  call.exchange->begin_stream(
      {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}});
}

void Stateless::finish(Call& call) {
  call.answered = true;
  call.events->finish();
  call.exchange->wake();
}

std::size_t Stateless::on_exchange_read(Exchange& exchange, std::span<char> buffer) {
  const auto found = calls_.find(exchange.stream);
  if (found == calls_.end() || found->second.events == nullptr) {
    return 0;
  }
  const auto bytes = found->second.events->read(buffer);
  found->second.events->keep(0);
  if (bytes > 0) {
    recount();
  }
  return bytes;
}

bool Stateless::on_exchange_at_end(Exchange& exchange) {
  const auto found = calls_.find(exchange.stream);
  if (found == calls_.end() || found->second.events == nullptr) {
    return true;
  }
  return found->second.events->finished() && found->second.events->drained();
}

/** After every change of what clients have to read. */
void Stateless::recount() {
  const bool was_behind = backlog_ > 0;
  backlog_ = 0;
  for (const auto& [number, call] : calls_) {
    backlog_ += call.events != nullptr ? call.events->unread() : call.json_bytes;
  }
  if (was_behind && backlog_ == 0) {
    drained_.schedule();
  }
}

}  // namespace hal::http
