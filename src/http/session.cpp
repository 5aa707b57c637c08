#include "http/session.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "io/loan.hpp"
#include "jsonrpc/batch.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <algorithm>
#include <utility>

namespace hal::http {

Answer error_answer(unsigned status, int code, std::string_view message, std::string_view id) {
  return {status,
          {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}},
          jsonrpc::error_response(id, code, message)};
}

Session::Session(event::Loop& loop, const Times& times, std::string id, WorkerId worker, std::string server,
                 Listener& listener)
    : loop_(loop),
      times_(times),
      id_(std::move(id)),
      worker_(std::move(worker)),
      server_(std::move(server)),
      listener_(listener),
      last_used_(loop.now()),
      over_(loop, "end of session " + id_, [this] { listener_.on_session_over(*this); }),
      deadline_(loop, "deadline of session " + id_, [this] { over_.schedule(); }),
      drained_(loop, "drained session " + id_,
               [this] {
                 slow_ = false;
                 update_reading();
                 backend_->client_drained();
               }),
      go_on_(loop, "session " + id_ + " goes on", [this] { update_reading(); }) {
  auto standing = std::make_unique<Stream>();
  standing->accepted.events = true;
  streams_.emplace(0, std::move(standing));
}

Session::~Session() {
  for (const auto& [number, stream] : streams_) {
    if (stream->exchange != nullptr) {
      stream->exchange->abandon();
    }
  }
  for (auto* exchange : waiting_) {
    exchange->set_owner(nullptr);
  }
}

void Session::touch() {
  last_used_ = loop_.now();
}

void Session::post(Exchange& exchange, const jsonrpc::Envelope& message) {
  touch();
  if (held_ || slow_ || !waiting_.empty()) {
    exchange.set_owner(static_cast<ExchangeOwner*>(this));
    waiting_.push_back(&exchange);
    return;
  }
  take(exchange, message);
}

void Session::take(Exchange& exchange, const jsonrpc::Envelope& message) {
  exchange.set_owner(nullptr);
  if (message.kind == jsonrpc::Kind::batch) {
    take_batch(exchange);
  } else {
    take_one(exchange, message);
  }
}

void Session::take_one(Exchange& exchange, const jsonrpc::Envelope& message) {
  const auto body = exchange.body().view();
  const io::Loan loan(exchange.body(), body.size());
  if (message.kind != jsonrpc::Kind::request) {
    backend_->from_client(message, body);
    give_up_cancelled(message);
    return exchange.answer({202, {{"Cache-Control", "no-store"}}, {}});
  }
  if (calls_.contains(jsonrpc::id_key(message.id))) {
    return exchange.answer(
        error_answer(400, jsonrpc::invalid_request, "a request with this id is in flight", message.id));
  }
  auto* stream = open_stream(exchange);
  if (stream == nullptr) {
    return exchange.answer(
        error_answer(429, jsonrpc::code_of(Errc::limit), "too many streams of this session", message.id));
  }
  (void)register_call(*stream, message);
  backend_->from_client(message, body);
}

/** Each message for itself; their answers are the events of one stream. */
void Session::take_batch(Exchange& exchange) {
  const io::ByteBuffer body(std::move(exchange.body()));
  const auto parts = jsonrpc::split_batch(body.view());
  std::vector<std::pair<jsonrpc::Envelope, std::string>> messages;
  messages.reserve(parts ? parts->size() : 0);  // the envelopes look into the strings
  bool any_request = false;
  for (const auto part : parts.value_or(std::vector<std::string_view>())) {
    auto& [message, text] = messages.emplace_back(jsonrpc::Envelope{}, std::string(part));
    message = jsonrpc::scan(text);
    any_request = any_request || message.kind == jsonrpc::Kind::request;
    if (message.kind != jsonrpc::Kind::request && message.kind != jsonrpc::Kind::notification &&
        !message.is_response()) {
      messages.clear();
      break;
    }
  }
  if (messages.empty()) {
    return exchange.answer(
        error_answer(400, jsonrpc::invalid_request, "the batch has what is no message, or too many"));
  }
  auto* stream = any_request ? open_stream(exchange) : nullptr;
  if (any_request && stream == nullptr) {
    return exchange.answer(error_answer(429, jsonrpc::code_of(Errc::limit), "too many streams of this session"));
  }
  if (!any_request) {
    exchange.answer({202, {{"Cache-Control", "no-store"}}, {}});
  } else if (stream->accepted.events) {
    for (const auto& [message, text] : messages) {  // all of them first: an early answer must not end the stream
      if (message.kind == jsonrpc::Kind::request && !register_call(*stream, message)) {
        for (const auto& key : std::exchange(stream->open, {})) {
          calls_.erase(key);
        }
        return exchange.answer(error_answer(400, jsonrpc::invalid_request, "an id of the batch is in flight"));
      }
    }
    start_events(*stream);
  } else {
    return exchange.answer(error_answer(406, jsonrpc::invalid_request, "a batch is answered by text/event-stream"));
  }
  for (const auto& [message, text] : messages) {
    backend_->from_client(message, text);
    give_up_cancelled(message);
  }
}

bool Session::register_call(Stream& stream, const jsonrpc::Envelope& message) {
  const auto key = jsonrpc::id_key(message.id);
  Call call;
  call.stream = stream.number;
  call.initialize = message.method() == "initialize";
  if (calls_.contains(key)) {
    return false;
  }
  if (!message.meta_progress_token.empty()) {
    call.token = jsonrpc::id_key(message.meta_progress_token);
    tokens_[call.token] = key;
  }
  calls_.emplace(key, std::move(call));
  stream.open.push_back(key);
  stream.initialize = stream.initialize || message.method() == "initialize";
  return true;
}

/** The answer to what the client has cancelled will not come: who waits for it is let go. */
void Session::give_up_cancelled(const jsonrpc::Envelope& message) {
  if (message.method() != "notifications/cancelled") {
    return;
  }
  const auto found = calls_.find(jsonrpc::id_key(message.request_id));
  if (found == calls_.end() || found->second.initialize) {
    return;
  }
  auto& stream = *find_stream(found->second.stream);
  std::erase(stream.open, found->first);
  tokens_.erase(found->second.token);
  calls_.erase(found);
  if (stream.open.empty()) {
    end_unanswered(stream);
  }
}

void Session::get(Exchange& exchange) {
  touch();
  if (const auto last = exchange.head().last_event_id; last) {
    return resume_stream(exchange, *last);
  }
  attach(*streams_.at(0), exchange);
}

void Session::hold(bool held) {
  held_ = held;
  if (!held) {
    go_on_.schedule();  // we are inside of the server
  }
}

void Session::update_reading() {
  while (!held_ && !slow_ && !waiting_.empty()) {
    auto* exchange = waiting_.front();
    waiting_.pop_front();
    take(*exchange, jsonrpc::scan(exchange->body().view()));
  }
}

// The end.

void Session::end(const std::string& reason) {
  if (std::exchange(ended_, true)) {
    return;
  }
  log::debug({{names::field_worker, worker_.value}, {names::field_session, id_}}, "session ends: {}", reason);
  for (auto* exchange : std::exchange(waiting_, {})) {
    exchange->set_owner(nullptr);
    exchange->answer(error_answer(404, jsonrpc::request_timeout, reason));
  }
  for (const auto& [number, stream] : streams_) {
    if (stream->events != nullptr) {
      stream->events->finish();
      if (stream->exchange != nullptr) {
        stream->exchange->wake();
      }
    } else if (stream->exchange != nullptr && stream->json_bytes == 0 && !stream->open.empty()) {
      stream->json_bytes = 1;  // is being answered
      stream->exchange->answer(error_answer(404, jsonrpc::request_timeout, reason));
    }
  }
  deadline_.arm(limits::ending);
  over_if_done();
}

void Session::over_if_done() {
  const bool is_sending = std::any_of(streams_.begin(), streams_.end(),
                                      [](const auto& entry) { return entry.second->exchange != nullptr; });
  if (ended_ && !is_sending) {
    over_.schedule();
  }
}

void Session::tick() {
  const auto now = loop_.now();
  bool used = false;
  for (auto entry = streams_.begin(); entry != streams_.end();) {
    auto& stream = *entry->second;
    used = used || stream.exchange != nullptr;
    if (stream.exchange != nullptr && stream.events != nullptr) {
      stream.events->keep_alive();
      stream.exchange->wake();
    } else if (stream.exchange != nullptr && !stream.open.empty() && stream.accepted.events &&
               now - stream.since >= times_.keep_alive) {
      start_events(stream);
    }
    const bool is_over = stream.number != 0 && stream.exchange == nullptr && stream.open.empty();
    entry = is_over && now - stream.since > times_.stream_kept ? streams_.erase(entry) : std::next(entry);
  }
  if (!used && !ended_ && now - last_used_ > times_.session_idle) {
    end("nobody used the session");
  }
}

}  // namespace hal::http
