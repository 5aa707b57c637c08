// The streams of a session: which message goes where, and what becomes of it.
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "http/http_limits.hpp"
#include "http/session.hpp"
#include "json/json.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

namespace hal::http {

namespace {

std::size_t size_of(hub::Parts parts) {
  std::size_t size = 0;
  for (const auto part : parts) {
    size += part.size();
  }
  return size;
}

std::string joined(hub::Parts parts) {
  std::string line;
  line.reserve(size_of(parts));
  for (const auto part : parts) {
    line += part;
  }
  return line;
}

}  // namespace

// From the backend.

void Session::deliver(hub::Parts message) {
  const auto line = joined(message);
  const auto envelope = jsonrpc::scan(line);
  if (envelope.is_response()) {
    return respond(envelope.id, message);
  }
  if (takes(line.size())) {
    put(related_stream(), message);
    slow_ = slow_ || backlog_ > limits::client_high_bytes;
  }
}

/** Which answers the request with this id; it is not looked into, for it may be large. */
void Session::respond(std::string_view id, hub::Parts message) {
  if (takes(size_of(message))) {
    answer_call(id, message);
    slow_ = slow_ || backlog_ > limits::client_high_bytes;
  }
}

/** False where the session is over, or is now because its client does not read. */
bool Session::takes(std::size_t bytes) {
  if (!ended_ && backlog_ + bytes > limits::peer_queue_bytes) {
    log::warning({{names::field_worker, worker_.value}, {names::field_session, id_}},
                 "session ended: its client does not read");
    end("the client does not read its answers");
  }
  return !ended_;
}

void Session::notify(hub::Parts parts) {
  if (ended_ || backlog_ > limits::client_notification_bytes) {
    return;
  }
  const auto line = joined(parts);
  const auto message = jsonrpc::scan(line);
  const auto method = message.method();
  if (method == "notifications/progress") {
    const auto call = tokens_.find(jsonrpc::id_key(message.progress_token));
    auto* stream = call != tokens_.end() ? find_stream(calls_.at(call->second).stream) : nullptr;
    if (stream == nullptr) {  // of a task, which goes on after its request was answered
      put(*streams_.at(0), parts);
    } else if (can_stream(*stream)) {
      put(*stream, parts);
    }
    return;
  }
  if (method == "notifications/message" || method == "notifications/cancelled") {
    return put(related_stream(), parts);
  }
  put(*streams_.at(0), parts);
}

/** Of what belongs to a request but does not say to which: the newest that is being waited for. */
Session::Stream& Session::related_stream() {
  const auto newest = std::find_if(streams_.rbegin(), streams_.rend(), [this](const auto& entry) {
    return !entry.second->open.empty() && can_stream(*entry.second);
  });
  return newest != streams_.rend() ? *newest->second : *streams_.at(0);
}

/** Events put there can be read: the client takes them, and is connected or can come back. */
bool Session::can_stream(const Stream& stream) const {
  return stream.events != nullptr || (stream.exchange != nullptr && stream.accepted.events);
}

Session::Stream* Session::find_stream(std::uint64_t number) {
  const auto found = streams_.find(number);
  return found != streams_.end() ? found->second.get() : nullptr;
}

void Session::answer_call(std::string_view id, hub::Parts message) {
  const auto found = calls_.find(jsonrpc::id_key(id));
  if (found == calls_.end()) {
    return;
  }
  const auto call = std::move(found->second);
  auto& stream = *find_stream(call.stream);
  std::erase(stream.open, found->first);
  if (!call.token.empty()) {
    tokens_.erase(call.token);
  }
  calls_.erase(found);
  if (call.initialize) {
    read_initialize(joined(message));
  }
  stream.since = loop_.now();
  if (stream.events == nullptr && stream.exchange == nullptr) {
    streams_.erase(stream.number);  // who asked has gone, and has nothing to come back with
    return;
  }
  if (stream.events == nullptr && (!stream.accepted.json || stream.accepted.events_first)) {
    start_events(stream);
  }
  if (stream.events == nullptr) {
    answer_json(stream, message);
  } else {
    put(stream, message);
    if (stream.open.empty()) {
      stream.events->finish();
    }
  }
  if (call.initialize && !initialized_) {
    end("initialize was refused");
  }
}

/** What it was opened for was cancelled. */
void Session::end_unanswered(Stream& stream) {
  stream.since = loop_.now();
  if (stream.events == nullptr && stream.exchange == nullptr) {
    streams_.erase(stream.number);
    return;
  }
  if (stream.events == nullptr && !stream.accepted.events) {
    stream.exchange->answer({202, {{"Cache-Control", "no-store"}}, {}});
    return;
  }
  if (stream.events == nullptr) {
    start_events(stream);
  }
  stream.events->finish();
  if (stream.exchange != nullptr) {
    stream.exchange->wake();
  }
}

void Session::read_initialize(const std::string& answer) {
  const auto message = jsonrpc::scan(answer);
  const auto result = json::parse(message.outcome);
  auto revision = result ? json::string_at(*result, "protocolVersion") : Result<std::string>(result.error());
  if (message.kind == jsonrpc::Kind::result && revision) {
    revision_ = std::move(*revision);
    initialized_ = true;
  }
}

void Session::answer_json(Stream& stream, hub::Parts message) {
  Headers headers{{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}};
  if (stream.initialize && initialized_) {
    headers.emplace_back("Mcp-Session-Id", id_);
  }
  stream.json_bytes = size_of(message);
  stream.exchange->answer({200, std::move(headers), io::Pieces(message)});
  recount();
}

void Session::start_events(Stream& stream) {
  attach(stream, *stream.exchange);
}

void Session::put(Stream& stream, hub::Parts message) {
  if (stream.events == nullptr) {
    stream.events = std::make_unique<EventStream>(stream.number);
    if (stream.exchange != nullptr) {
      attach(stream, *stream.exchange);
    }
  }
  stream.events->add(message);
  if (stream.exchange != nullptr) {
    stream.exchange->wake();
  } else {
    drop_unread();
  }
  recount();
}

/** What nobody reads is bounded: the stream with most of it loses all. */
void Session::drop_unread() {
  std::size_t unread = 0;
  Stream* largest = nullptr;
  for (const auto& [number, stream] : streams_) {
    if (stream->exchange == nullptr && stream->events != nullptr) {
      unread += stream->events->unread();
      if (largest == nullptr || stream->events->unread() > largest->events->unread()) {
        largest = stream.get();
      }
    }
  }
  if (unread > limits::unread_bytes) {
    log::debug({{names::field_session, id_}}, "a stream that nobody reads is forgotten");
    largest->events->forget();
  }
}

// From connections.

/** A place for the answer to a POST; null where the session has too many. */
Session::Stream* Session::open_stream(Exchange& exchange) {
  if (!make_room()) {
    return nullptr;
  }
  auto stream = std::make_unique<Stream>();
  stream->number = next_stream_++;
  stream->exchange = &exchange;
  stream->accepted = accepted(exchange.head());
  stream->since = loop_.now();
  exchange.stream = stream->number;
  exchange.set_owner(static_cast<ExchangeOwner*>(this));
  return (streams_[stream->number] = std::move(stream)).get();
}

bool Session::make_room() {
  if (streams_.size() <= limits::streams_per_session) {
    return true;
  }
  const auto oldest = std::find_if(streams_.begin(), streams_.end(), [](const auto& entry) {
    return entry.first != 0 && entry.second->open.empty() && entry.second->exchange == nullptr;
  });
  if (oldest == streams_.end()) {
    return false;
  }
  streams_.erase(oldest);
  return true;
}

/** The exchange reads the stream from now on, in place of any other. */
void Session::attach(Stream& stream, Exchange& exchange) {
  if (stream.events == nullptr) {
    stream.events = std::make_unique<EventStream>(stream.number);
  }
  if (auto* old = std::exchange(stream.exchange, &exchange); old != nullptr && old != &exchange) {
    stream.events->disconnected();
    old->abandon();
  }
  exchange.stream = stream.number;
  exchange.set_owner(static_cast<ExchangeOwner*>(this));
  stream.events->open(revision_ >= "2025-11-25");
  Headers headers{{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
  if (stream.initialize) {
    headers.emplace_back("Mcp-Session-Id", id_);
  }
  exchange.begin_stream(headers);
  recount();
}

void Session::resume_stream(Exchange& exchange, std::string_view event_id) {
  const auto id = read_event_id(event_id);
  auto* stream = id ? find_stream(id->stream) : nullptr;
  if (stream == nullptr || stream->events == nullptr || !stream->events->rewind(id->event)) {
    return exchange.answer(error_answer(400, jsonrpc::invalid_request,
                                        "nothing is kept of what followed the event " + text::printable(event_id, 64)));
  }
  attach(*stream, exchange);
}

std::size_t Session::on_exchange_read(Exchange& exchange, std::span<char> buffer) {
  auto* stream = find_stream(exchange.stream);
  if (stream == nullptr || stream->events == nullptr) {
    return 0;
  }
  const auto bytes = stream->events->read(buffer);
  stream->events->keep(limits::kept_bytes_per_stream);
  if (bytes > 0) {
    touch();
    recount();
  }
  return bytes;
}

bool Session::on_exchange_at_end(Exchange& exchange) {
  const auto* stream = find_stream(exchange.stream);
  return stream == nullptr || stream->events == nullptr || (stream->events->finished() && stream->events->drained());
}

void Session::on_exchange_over(Exchange& exchange) {
  touch();
  if (std::erase(waiting_, &exchange) > 0) {
    return;
  }
  auto* stream = find_stream(exchange.stream);
  if (stream == nullptr || stream->exchange != &exchange) {
    return;
  }
  stream->exchange = nullptr;
  stream->since = loop_.now();
  if (stream->events != nullptr) {
    stream->events->disconnected();
  } else if (stream->open.empty()) {
    streams_.erase(stream->number);
  }
  recount();
  over_if_done();
}

/** After every change of what connected clients have to read. */
void Session::recount() {
  const bool was_behind = backlog_ > 0;
  backlog_ = 0;
  for (const auto& [number, stream] : streams_) {
    if (stream->exchange != nullptr) {
      backlog_ += stream->events != nullptr ? stream->events->unread() : stream->json_bytes;
    }
  }
  if (was_behind && backlog_ == 0) {
    drained_.schedule();
  }
}

}  // namespace hal::http
