// The session with the server: its beginning, its loss, its end.
#include "base/log.hpp"
#include "base/text.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "remote/client.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace hal::remote {

namespace {

/** For a server to forget a session that is given back; our client does not wait longer. */
constexpr std::chrono::seconds farewell_deadline{2};
constexpr std::chrono::milliseconds first_delay{1000};
constexpr std::chrono::milliseconds max_delay{60'000};

std::string text_at(std::string_view json, std::string_view pointer) {
  std::string text;
  (void)jsonrpc::any_at(json, pointer, [&text](std::string_view raw) {
    text = jsonrpc::unescape(raw);
    return true;
  });
  return text;
}

bool is_true_at(std::string_view json, std::string_view pointer) {
  return jsonrpc::any_at(json, pointer, [](std::string_view raw) { return raw == "true"; });
}

}  // namespace

void Client::on_initialize(Request request, std::string_view params) {
  if (phase_ == Phase::greeting) {
    return answer_error(request, {Errc::protocol, "another initialize is in flight"});
  }
  stream_.close();
  fail_all({Errc::cancelled, "the client has begun a new session"});
  give_back_session();
  memory_.begin(params);
  greet(std::move(request));
}

void Client::greet(Request request) {
  phase_ = Phase::greeting;
  greeting_key_ = request.key;
  session_ = {web_.settings.url, {}, {}};
  waiting_greeting_ = std::move(request);
  again_.disarm();
  if (web_.settings.transport == Transport::sse) {
    stream_.open();  // on_endpoint() goes on
  } else {
    send_greeting();
  }
}

void Client::send_greeting() {
  if (auto request = std::exchange(waiting_greeting_, std::nullopt)) {
    send(*std::move(request));
  }
}

void Client::on_greeted(const jsonrpc::Envelope& message, std::string_view line, bool own) {
  const auto revision = text_at(message.outcome, "/protocolVersion");
  const bool good = message.kind == jsonrpc::Kind::result && is_session_id(revision);
  if (!good) {
    if (!own) {
      web_.outlet.write(line);
    }
    return greeting_failed({Errc::unavailable, host() + ": refused to initialize"});
  }
  session_.revision = revision;
  greeting_key_.clear();
  phase_ = Phase::ready;
  again_delay_ = first_delay;
  if (!own) {
    memory_.set_revision(revision);
    web_.outlet.write(line);
  } else if (revision != memory_.revision()) {
    log::error({}, "{}: has changed its protocol from {} to {}", host(), memory_.revision(), text::printable(revision));
    return on_end_(EXIT_FAILURE);
  } else {
    log::notice({}, "{}: a new session", host());
    tell_again(message.outcome);
  }
  pump();
}

void Client::greeting_failed(const Error& error) {
  const auto request = std::exchange(waiting_greeting_, std::nullopt);
  if (request) {
    answer_error(*request, error);
  }
  const auto key = std::exchange(greeting_key_, {});
  if (const auto found = exchanges_.find(key); found != exchanges_.end()) {
    const auto ended = std::move(found->second);
    exchanges_.erase(found);
    answer_error(ended->request(), error);
  }
  const bool again = !memory_.revision().empty();  // it was answered well once
  session_ = {web_.settings.url, {}, {}};
  stream_.close();
  phase_ = again ? Phase::lost : Phase::none;
  fail_queued(error);
  if (again) {
    again_.arm(again_delay_);
    again_delay_ = std::min(max_delay, again_delay_ * 2);
  }
  brake();
}

void Client::session_lost(const Error& reason) {
  if (phase_ != Phase::ready) {
    return;
  }
  log::notice({}, "the session is lost: {}", reason.message);
  session_ = {web_.settings.url, {}, {}};
  stream_.close();
  posting_.reset();
  phase_ = Phase::lost;
  fail_all({Errc::disconnected, reason.message + "; the call may or may not have run"});
  begin_again();
}

std::string Client::next_own_id() {
  return jsonrpc::quote(fmt::format("{}-{}", own_prefix_, ++last_own_id_));
}

void Client::begin_again() {
  Request request;
  request.id = next_own_id();
  request.key = jsonrpc::id_key(request.id);
  request.method = "initialize";
  request.line = jsonrpc::request(request.id, request.method, memory_.initialize_params());
  request.own = true;
  greet(std::move(request));
}

/** What the lost session knew, before anything else; and the client that its lists may differ. */
void Client::tell_again(std::string_view result) {
  if (!memory_.initialized()) {
    return;
  }
  std::deque<Outgoing> first;
  first.push_back({std::nullopt, jsonrpc::notification("notifications/initialized", ""), true});
  for (const auto& told : memory_.told()) {
    Request request;
    request.id = next_own_id();
    request.key = jsonrpc::id_key(request.id);
    request.method = told.method;
    request.line = jsonrpc::request(request.id, request.method, told.params);
    request.own = true;
    first.push_back({std::move(request), {}, false});
  }
  std::ranges::move(queue_, std::back_inserter(first));
  queue_ = std::move(first);
  for (const auto* list : {"tools", "prompts", "resources"}) {
    if (is_true_at(result, fmt::format("/capabilities/{}/listChanged", list))) {
      web_.outlet.write(jsonrpc::notification(fmt::format("notifications/{}/list_changed", list), ""));
    }
  }
}

/** Those without a session go on. */
void Client::fail_all(const Error& error) {
  for (auto it = exchanges_.begin(); it != exchanges_.end();) {
    if (it->second->request().stateless()) {
      ++it;
      continue;
    }
    answer_error(it->second->request(), error);
    it = exchanges_.erase(it);
  }
}

void Client::fail_queued(const Error& error) {
  for (const auto& one : std::exchange(queue_, {})) {
    if (one.request) {
      answer_error(*one.request, error);
    }
  }
}

void Client::give_back_session() {
  if (session_.id.empty()) {
    return;
  }
  CallSpec spec;
  spec.method = "DELETE";
  spec.url = session_.messages;
  spec.headers = session_headers(session_);
  spec.answer = spec.idle = farewell_deadline;
  farewell_ = std::make_unique<Call>(web_, std::move(spec),
                                     Call::Callbacks{.on_head = nullptr,
                                                     .on_event = [](const Event&) {},
                                                     .on_overlong = nullptr,
                                                     .on_end =
                                                         [this](const Result<Answer>&) {
                                                           farewell_.reset();
                                                           if (ending_) {
                                                             on_end_(EXIT_SUCCESS);
                                                           }
                                                         }});
  session_.id.clear();
}

void Client::end() {
  if (std::exchange(ending_, true)) {
    return;
  }
  stream_.close();
  posting_.reset();
  queue_.clear();
  refused_.clear();
  exchanges_.clear();
  again_.disarm();
  give_back_session();
  if (!farewell_) {
    on_end_(EXIT_SUCCESS);
  }
}

}  // namespace hal::remote
