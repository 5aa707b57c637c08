#include "http/sse_session.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "http/http_limits.hpp"
#include "http/session.hpp"
#include "io/loan.hpp"
#include "jsonrpc/batch.hpp"
#include "jsonrpc/code.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace hal::http {

namespace {

std::size_t size_of(hub::Parts parts) {
  std::size_t size = 0;
  for (const auto part : parts) {
    size += part.size();
  }
  return size;
}

}  // namespace

SseSession::SseSession(event::Loop& loop, hub::ClientId id, std::string session, WorkerId worker, Listener& listener)
    : id_(id),
      session_(std::move(session)),
      worker_(std::move(worker)),
      listener_(listener),
      over_(loop, "end of session " + session_, [this] { listener_.on_session_over(*this); }),
      deadline_(loop, "deadline of session " + session_, [this] { over_.schedule(); }),
      drained_(loop, "drained session " + session_, [this] { on_drained(); }),
      go_on_(loop, "session " + session_ + " goes on", [this] { update_reading(); }) {}

SseSession::~SseSession() {
  if (stream_ != nullptr) {
    stream_->abandon();
  }
  for (auto* exchange : waiting_) {
    exchange->set_owner(nullptr);
  }
}

void SseSession::start(hub::Server& server, Exchange& exchange) {
  server_ = &server;
  stream_ = &exchange;
  exchange.set_owner(static_cast<ExchangeOwner*>(this));
  events_.announce("endpoint", "/message/" + session_);
  exchange.begin_stream(
      {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}});
  exchange.watch_client();
}

// Posts.

void SseSession::post(Exchange& exchange, const jsonrpc::Envelope& message) {
  if (held_ || slow_ || !waiting_.empty()) {
    exchange.set_owner(static_cast<ExchangeOwner*>(this));
    waiting_.push_back(&exchange);
    return;
  }
  take(exchange, message);
}

/** The answers come on the stream. */
void SseSession::take(Exchange& exchange, const jsonrpc::Envelope& message) {
  exchange.set_owner(nullptr);
  const auto body = exchange.body().view();
  const io::Loan loan(exchange.body(), body.size());
  if (message.kind == jsonrpc::Kind::batch) {
    if (!take_batch(body)) {
      return exchange.answer(error_answer(400, jsonrpc::invalid_request,
                                          "a batch of that kind is not taken: wrong revision, or what is no message"));
    }
  } else if (server_ != nullptr) {
    server_->from_client(*this, message, body);
  }
  exchange.answer({202, {{"Cache-Control", "no-store"}}, {}});
}

/** Each message for itself; each answer is an event of its own. */
bool SseSession::take_batch(std::string_view body) {
  const auto lines = jsonrpc::split_batch(body);
  if (server_ == nullptr || !server_->takes_batches(*this) || !lines || lines->empty()) {
    return false;
  }
  std::vector<jsonrpc::Envelope> messages;
  for (const auto line : *lines) {
    const auto& message = messages.emplace_back(jsonrpc::scan(line));
    if (message.kind != jsonrpc::Kind::request && message.kind != jsonrpc::Kind::notification &&
        !message.is_response()) {
      return false;
    }
  }
  for (std::size_t i = 0; i < messages.size() && server_ != nullptr; ++i) {
    server_->from_client(*this, messages[i], (*lines)[i]);
  }
  return true;
}

void SseSession::hold(bool held) {
  held_ = held;
  if (!held) {
    go_on_.schedule();  // we are inside of the server
  }
}

void SseSession::update_reading() {
  while (!held_ && !slow_ && !ended_ && !waiting_.empty()) {
    auto* exchange = waiting_.front();
    waiting_.pop_front();
    take(*exchange, jsonrpc::scan(exchange->body().view()));
  }
}

// The stream.

void SseSession::deliver(hub::Parts message) {
  if (ended_) {
    return;
  }
  if (events_.unread() + size_of(message) > limits::peer_queue_bytes) {
    log::warning({{names::field_worker, worker_.value}, {names::field_session, session_}},
                 "session ended: its client does not read");
    return end("the client does not read its answers");
  }
  events_.add(message);
  slow_ = slow_ || events_.unread() > limits::client_high_bytes;
  if (stream_ != nullptr) {
    stream_->wake();
  }
}

void SseSession::notify(hub::Parts message) {
  if (events_.unread() <= limits::client_notification_bytes) {
    deliver(message);
  }
}

void SseSession::tick() {
  if (stream_ != nullptr) {
    events_.keep_alive();
    stream_->wake();
  }
}

std::size_t SseSession::on_exchange_read(Exchange&, std::span<char> buffer) {
  const auto bytes = events_.read(buffer);
  events_.keep(0);
  if (bytes > 0 && events_.unread() == 0) {
    drained_.schedule();
  }
  return bytes;
}

bool SseSession::on_exchange_at_end(Exchange&) {
  return events_.finished() && events_.drained();
}

void SseSession::on_drained() {
  slow_ = false;
  update_reading();
  if (server_ != nullptr) {
    server_->client_drained(*this);
  }
}

// The end.

void SseSession::on_exchange_over(Exchange& exchange) {
  if (&exchange != stream_) {
    std::erase(waiting_, &exchange);
    return;
  }
  stream_ = nullptr;
  end("the client has closed its stream");
}

void SseSession::on_exchange_left(Exchange& exchange) {
  if (&exchange == stream_) {
    stream_ = nullptr;
    exchange.abandon();
    end("the client has closed its stream");
  }
}

void SseSession::end(const std::string& reason) {
  if (!std::exchange(ended_, true)) {
    log::debug({{names::field_worker, worker_.value}, {names::field_session, session_}}, "session ends: {}", reason);
    for (auto* exchange : std::exchange(waiting_, {})) {
      exchange->set_owner(nullptr);
      exchange->answer(error_answer(404, jsonrpc::request_timeout, reason));
    }
    events_.finish();
    deadline_.arm(limits::ending);
    if (stream_ != nullptr) {
      stream_->wake();
    }
  }
  if (stream_ == nullptr) {
    over_.schedule();
  }
}

void SseSession::detach(const std::string& reason) {
  server_ = nullptr;
  end(reason);
}

}  // namespace hal::http
