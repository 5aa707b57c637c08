// Messages of the client and of the server.
#include "remote/client.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "jsonrpc/batch.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::remote {

namespace {

/** Each takes a connection, where the server does not speak HTTP/2. */
constexpr std::size_t max_open_requests = 1024;
/** Of messages that the server has not taken yet, and how many may wait: then the client is read from no more. */
constexpr std::size_t max_sending_bytes = std::size_t{64} << 20;
constexpr std::size_t max_waiting = 256;
/** For a server to take a notification or a response. */
constexpr std::chrono::seconds post_deadline{30};
constexpr std::chrono::milliseconds first_delay{1000};

/** What a stateless request has in a header of its own beside its method. */
std::string name_of(const jsonrpc::Envelope& message) {
  const auto method = message.method();
  if (method == "tools/call" || method == "prompts/get") {
    return jsonrpc::unescape(message.name);
  }
  return method == "resources/read" ? jsonrpc::unescape(message.uri) : std::string();
}

}  // namespace

Client::Client(event::Loop& loop, const Web& web, std::function<void(int)> on_end)
    : loop_(loop),
      web_(web),
      on_end_(std::move(on_end)),
      session_{web.settings.url, {}, {}},
      stream_(loop, web, session_, *this),
      again_(loop, "remote:again",
             [this] {
               if (phase_ == Phase::lost) {
                 begin_again();
               }
             }),
      again_delay_(first_delay),
      own_prefix_("hal9000-" + text::random_hex(16)) {}

void Client::on_line(std::string_view line) {
  const auto message = jsonrpc::scan(line);
  if (message.kind != jsonrpc::Kind::batch) {
    return on_message(line);
  }
  const auto lines = jsonrpc::split_batch(line);
  if (!lines) {
    return web_.outlet.write(jsonrpc::error_response("null", jsonrpc::invalid_request, "the batch is too long"));
  }
  for (const auto one : *lines) {
    on_message(one);
  }
}

void Client::on_overlong(std::size_t bytes) {
  log::warning({}, "a line of {} bytes from the client was dropped", bytes);
}

void Client::on_message(std::string_view line) {
  const auto message = jsonrpc::scan(line);
  switch (message.kind) {
    case jsonrpc::Kind::request:
      return on_request(message, line);
    case jsonrpc::Kind::notification:
      return on_notification(message, line);
    case jsonrpc::Kind::result:
    case jsonrpc::Kind::error:
      return queue({std::nullopt, std::string(line), false});
    default:
      web_.outlet.write(jsonrpc::error_response(
          message.id.empty() ? "null" : message.id,
          message.kind == jsonrpc::Kind::not_json ? jsonrpc::parse_error : jsonrpc::invalid_request, message.problem));
  }
}

bool Client::is_open(const std::string& key) const {
  return exchanges_.contains(key) || refused_.contains(key) ||
         std::ranges::any_of(queue_, [&key](const Outgoing& one) { return one.request && one.request->key == key; });
}

void Client::on_request(const jsonrpc::Envelope& message, std::string_view line) {
  Request request;
  request.id = message.id;
  request.key = jsonrpc::id_key(message.id);
  request.method = message.method();
  request.line = line;
  request.revision = own_revision(message.params);
  request.name = name_of(message);
  if (is_open(request.key)) {
    return answer_error(request, {Errc::protocol, "a request with this id is in flight"});
  }
  if (exchanges_.size() + queue_.size() + refused_.size() >= max_open_requests) {
    return answer_error(request, {Errc::limit, "too many requests in flight at " + host()});
  }
  if (request.stateless()) {
    if (request.method == "tools/call") {
      request.parameters = parameter_headers(tools_, message);
    }
    return send(std::move(request));
  }
  if (request.method == "initialize") {
    return on_initialize(std::move(request), message.params);
  }
  memory_.on_request(message);
  queue({std::move(request), {}, false});
}

void Client::on_notification(const jsonrpc::Envelope& message, std::string_view line) {
  const auto method = message.method();
  if (method == "notifications/cancelled" && !on_cancelled(message)) {
    return;
  }
  const bool is_initialized = method == "notifications/initialized";
  if (is_initialized) {
    memory_.set_initialized();
  }
  queue({std::nullopt, std::string(line), is_initialized});
}

bool Client::on_cancelled(const jsonrpc::Envelope& message) {
  const auto key = jsonrpc::id_key(message.request_id);
  const auto queued =
      std::ranges::find_if(queue_, [&key](const Outgoing& one) { return one.request && one.request->key == key; });
  if (queued != queue_.end()) {
    queue_.erase(queued);
    return false;
  }
  const auto found = exchanges_.find(key);
  if (refused_.erase(key) > 0 || found == exchanges_.end() || key == greeting_key_) {
    return false;  // not on its way, or too late
  }
  if (found->second->request().stateless()) {
    exchanges_.erase(found);  // the end of the connection tells the server
    return false;
  }
  found->second->cancelled();
  return true;
}

void Client::queue(Outgoing outgoing) {
  queue_.push_back(std::move(outgoing));
  pump();
}

void Client::pump() {
  while (!queue_.empty() && !posting_ && phase_ != Phase::greeting && !ending_) {
    if (phase_ == Phase::lost) {
      begin_again();
      break;
    }
    auto next = std::move(queue_.front());
    queue_.pop_front();
    if (next.request) {
      send(*std::move(next.request));
    } else {
      post(std::move(next));
    }
  }
  brake();
}

void Client::send(Request request) {
  const auto key = request.key;
  exchanges_[key] =
      std::make_unique<Exchange>(loop_, web_, session_, std::move(request), static_cast<Exchange::Listener&>(*this));
  brake();
}

void Client::post(Outgoing outgoing) {
  CallSpec spec;
  spec.method = "POST";
  spec.url = session_.messages;
  spec.headers = message_headers(session_);
  spec.body = std::move(outgoing.line);
  spec.answer = spec.idle = post_deadline;
  posting_ = std::make_unique<Call>(
      web_, std::move(spec),
      Call::Callbacks{.on_head = nullptr,
                      .on_event = [this](Event event) { on_server_message(event.data); },
                      .on_overlong = nullptr,
                      .on_end = [this, was_initialized = outgoing.is_initialized](
                                    const Result<Answer>& result) { on_posted(was_initialized, result); }});
}

void Client::on_posted(bool was_initialized, const Result<Answer>& result) {
  posting_.reset();
  if (!result) {
    log::warning({}, "a notification could not be delivered: {}", result.error().message);
  } else if (result->status == 404 && !session_.id.empty()) {
    return session_lost({Errc::disconnected, host() + ": does not know the session any more"});
  } else if (result->status / 100 != 2) {
    log::warning({}, "a notification was refused: {}", status_error(web_.settings, *result).message);
  }
  if (was_initialized && phase_ == Phase::ready && web_.settings.transport == Transport::http) {
    stream_.open();
  }
  pump();
}

void Client::brake() {
  std::size_t bytes = 0;
  for (const auto& one : queue_) {
    bytes += one.bytes();
  }
  for (const auto& [key, exchange] : exchanges_) {
    bytes += exchange->sending();
  }
  for (const auto& [key, call] : refused_) {
    bytes += call.request.line.size();
  }
  web_.outlet.brake(bytes > max_sending_bytes || queue_.size() >= max_waiting);
}

void Client::answer_error(const Request& request, const Error& error) {
  if (!request.own) {
    web_.outlet.write(error_answer(request, error));
  }
}

// --- from the server -----------------------------------------------------------------------------------------------

void Client::on_server_message(std::string_view message) {
  const auto scanned = jsonrpc::scan(message);
  if (scanned.kind == jsonrpc::Kind::batch) {
    const auto lines = jsonrpc::split_batch(message);
    const std::string copy = lines ? std::string(message) : std::string();  // its owner may end with the first
    for (const auto one : lines ? *jsonrpc::split_batch(copy) : std::vector<std::string_view>{}) {
      if (jsonrpc::scan(one).kind != jsonrpc::Kind::batch) {
        on_server_message(one);
      }
    }
    return;
  }
  if (scanned.kind == jsonrpc::Kind::not_json || scanned.kind == jsonrpc::Kind::invalid) {
    return log::debug({}, "{}: what is no message ({}) was dropped", host(), scanned.problem);
  }
  if (scanned.is_response()) {
    return on_server_response(scanned, message);
  }
  web_.outlet.write(message);
}

void Client::on_server_response(const jsonrpc::Envelope& message, std::string_view line) {
  const auto found = exchanges_.find(jsonrpc::id_key(message.id));
  if (found == exchanges_.end()) {
    return log::debug({}, "{}: a response to nothing asked, or a late one, was dropped", host());
  }
  const auto exchange = std::move(found->second);  // lives until the line has been handed on
  exchanges_.erase(found);
  if (exchange->request().stateless() && exchange->request().method == "tools/list") {
    tools_.learn(message.outcome);
  }
  if (exchange->request().key == greeting_key_) {
    on_greeted(message, line, exchange->request().own);
  } else if (exchange->request().key == listing_key_) {
    on_listed(message.outcome);
  } else if (!exchange->request().own) {
    web_.outlet.write(line);
  }
  brake();
}

void Client::on_exchange_begun(Exchange& exchange, const curl::Response& response) {
  const auto* id = response.header("mcp-session-id");
  if (exchange.request().key == greeting_key_ && id != nullptr && is_session_id(*id)) {
    session_.id = *id;
  }
  brake();
}

void Client::on_exchange_failed(Exchange& exchange, const Error& error) {
  const auto ended = std::move(exchanges_.at(exchange.request().key));
  exchanges_.erase(ended->request().key);
  if (ended->request().key == greeting_key_) {
    answer_error(ended->request(), error);
    return greeting_failed(error);
  }
  if (ended->request().key == listing_key_) {
    return on_listed({});
  }
  if (error.code != Errc::cancelled) {  // nobody waits
    answer_error(ended->request(), error);
  }
  if (error.code == Errc::timed_out && !ended->request().stateless()) {
    queue(
        {std::nullopt,
         jsonrpc::notification("notifications/cancelled",
                               fmt::format(R"({{"requestId":{},"reason":"no answer in time"}})", ended->request().id)),
         false});
  }
  brake();
}

void Client::on_session_refused(Exchange& exchange, std::string line) {
  auto request = exchange.request();
  const auto ended = std::move(exchanges_.at(request.key));
  exchanges_.erase(request.key);
  const Error lost{Errc::disconnected, host() + ": does not know the session any more"};
  request.line = std::move(line);
  if (request.key == greeting_key_) {
    answer_error(request, lost);
    return greeting_failed(lost);
  }
  if (request.again || request.own || request.line.empty() || phase_ != Phase::ready) {
    answer_error(request, lost);
  } else {
    request.again = true;
    queue_.push_front({std::move(request), {}, false});
  }
  session_lost(lost);
}

void Client::on_endpoint(curl::Url messages) {
  session_.messages = std::move(messages);
  send_greeting();
}

void Client::on_stream_lost(const Error& reason) {
  if (phase_ == Phase::greeting) {
    return greeting_failed(reason);
  }
  session_lost(reason);
}

}  // namespace hal::remote
