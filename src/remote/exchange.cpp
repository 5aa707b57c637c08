#include "remote/exchange.hpp"

#include "base/text.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace hal::remote {

namespace {

constexpr int max_attempts = 5;
constexpr std::chrono::milliseconds first_retry{1000};
constexpr std::chrono::milliseconds max_retry{60'000};
/** How long an answer is still read that nobody waits for. */
constexpr std::chrono::seconds cancelled_deadline{10};

/** All others wait for it. */
constexpr std::chrono::milliseconds greeting_deadline{30'000};

constexpr std::string_view may_have_run = "; the call may or may not have run";

std::string joined(const jsonrpc::Splice& splice) {
  std::string result;
  for (const auto part : splice.parts()) {
    result += part;
  }
  return result;
}

}  // namespace

std::string error_answer(const Request& request, const Error& error) {
  // Codes that blame the client's message are for those that the server sends itself.
  const int code = error.code == Errc::protocol ? jsonrpc::internal_error : jsonrpc::code_of(error.code);
  return jsonrpc::error_response(request.id, code, error.message);
}

Exchange::Exchange(event::Loop& loop, const Web& web, const Session& session, Request request, Listener& listener)
    : loop_(loop),
      web_(web),
      session_(session),
      request_(std::move(request)),
      listener_(listener),
      bytes_(request_.line.size()),
      timer_(loop, "remote:exchange", [] {}) {
  post();
}

void Exchange::post() {
  const bool endless = request_.method == "subscriptions/listen";
  auto patience = endless ? std::chrono::milliseconds(0) : web_.settings.timeout;
  if (request_.method == "initialize") {
    patience = std::min(patience, greeting_deadline);
  }
  CallSpec spec;
  spec.method = "POST";
  spec.url = request_.stateless() ? web_.settings.url : session_.messages;
  spec.headers = request_.stateless() ? stateless_headers(request_.revision, request_.method, request_.name)
                                      : message_headers(session_);
  std::ranges::move(request_.parameters, std::back_inserter(spec.headers));
  spec.body = std::move(request_.line);
  spec.answer = patience;
  spec.idle = patience;
  call_ = std::make_unique<Call>(web_, std::move(spec),
                                 Call::Callbacks{.on_head = [this](const curl::Response& head) { on_head(head); },
                                                 .on_event = [this](Event event) { (void)hand_on(event.data); },
                                                 .on_overlong = [this] { fail(overlong_error(web_.settings)); },
                                                 .on_end = [this](Result<Answer> end) { on_end(std::move(end)); }});
}

void Exchange::on_head(const curl::Response& response) {
  begun_ = true;
  listener_.on_exchange_begun(*this, response);
}

void Exchange::on_end(Result<Answer> result) {
  if (!result) {
    auto error = result.error();
    const bool broken = error.code == Errc::disconnected || error.code == Errc::timed_out;
    if (broken) {
      error.message += may_have_run;
    }
    return broken && begun_ ? take_up(error) : fail(error);
  }
  if (result->status / 100 != 2) {
    return on_refused(*std::move(result));
  }
  if (result->events) {
    return take_up({Errc::disconnected,
                    fmt::format("{}: the stream ended before the answer{}", web_.settings.url.host, may_have_run)});
  }
  if (web_.settings.transport == Transport::sse) {  // the answer comes on the one stream there is
    call_.reset();
    timer_ = event::Timer(loop_, "remote:answer", [this] {
      fail({Errc::timed_out, fmt::format("{}: no answer in time{}", web_.settings.url.host, may_have_run)});
    });
    return timer_.arm(web_.settings.timeout);
  }
  on_body(*result);
}

void Exchange::on_refused(Answer answer) {
  const bool in_session = web_.settings.transport == Transport::sse || !session_.id.empty();
  if (answer.status == 404 && in_session && !request_.stateless()) {
    return listener_.on_session_refused(*this, std::move(answer.request_body));
  }
  // What the server says itself is better than its status.
  auto words = own_words(answer.body);
  if (words.empty()) {
    return fail(status_error(web_.settings, answer));
  }
  const auto code = text::to_number<int>(jsonrpc::member(jsonrpc::scan(words).outcome, "code"));
  if (code == jsonrpc::header_mismatch && request_.stateless() && request_.method == "tools/call" && !request_.again) {
    return listener_.on_headers_refused(*this, std::move(answer.request_body), std::move(words));
  }
  (void)hand_on(words);
}

std::string Exchange::own_words(std::string_view body) const {
  const auto message = jsonrpc::scan(body);
  if (message.kind != jsonrpc::Kind::error || message.id.empty()) {
    return {};
  }
  if (message.id == "null") {
    jsonrpc::Splice splice(body);
    splice.replace(message.id, request_.id);
    return joined(splice);
  }
  return jsonrpc::id_key(message.id) == request_.key ? std::string(body) : std::string();
}

void Exchange::on_body(const Answer& answer) {
  const auto message = jsonrpc::scan(answer.body);
  if (message.kind == jsonrpc::Kind::not_json || message.kind == jsonrpc::Kind::invalid) {
    const auto what = answer.body.empty() ? std::string("nothing")
                                          : fmt::format("what is no message ({})", text::printable(answer.type, 80));
    return fail({Errc::protocol, fmt::format("{}: answered the request with {} (HTTP status {}){}",
                                             web_.settings.url.host, what, answer.status, may_have_run)});
  }
  if (hand_on(answer.body)) {
    fail({Errc::protocol,
          fmt::format("{}: answered something else than was asked{}", web_.settings.url.host, may_have_run)});
  }
}

void Exchange::take_up(const Error& reason) {
  if (call_ && !call_->last_id().empty()) {
    last_id_ = call_->last_id();
  }
  if (call_ && call_->retry()) {
    retry_ = call_->retry();
  }
  call_.reset();
  if (last_id_.empty() || request_.stateless() || cancelled_ || attempts_ >= max_attempts) {
    return fail(reason);
  }
  timer_ = event::Timer(loop_, "remote:take up", [this] { get(); });
  timer_.arm(std::min(max_retry, retry_.value_or(first_retry) * (1 << attempts_)));
  ++attempts_;
}

void Exchange::get() {
  CallSpec spec;
  spec.method = "GET";
  spec.url = session_.messages;
  spec.headers = session_headers(session_);
  spec.headers.emplace_back("Accept: text/event-stream");
  spec.headers.push_back("Last-Event-ID: " + last_id_);
  spec.answer = spec.idle = web_.settings.timeout;
  call_ = std::make_unique<Call>(web_, std::move(spec),
                                 Call::Callbacks{.on_head = nullptr,
                                                 .on_event = [this](Event event) { (void)hand_on(event.data); },
                                                 .on_overlong = [this] { fail(overlong_error(web_.settings)); },
                                                 .on_end = [this](Result<Answer> end) { on_get_end(end); }});
}

void Exchange::on_get_end(const Result<Answer>& result) {
  if (!result) {
    return take_up({result.error().code, result.error().message + std::string(may_have_run)});
  }
  if (result->status == 404 && !session_.id.empty()) {
    return listener_.on_session_refused(*this, {});
  }
  if (result->status >= 500 || result->events) {
    return take_up({Errc::disconnected,
                    fmt::format("{}: the stream ended before the answer{}", web_.settings.url.host, may_have_run)});
  }
  auto error = status_error(web_.settings, *result);
  fail({Errc::disconnected, error.message + " to the stream being taken up" + std::string(may_have_run)});
}

bool Exchange::hand_on(std::string_view message) {
  attempts_ = 0;
  bool here = false;
  const auto check = alive_.wrap([&here] { here = true; });
  listener_.on_server_message(message);
  check();
  return here;
}

void Exchange::fail(const Error& error) {
  call_.reset();
  timer_.disarm();
  listener_.on_exchange_failed(*this, error);
}

void Exchange::cancelled() {
  cancelled_ = true;
  timer_ = event::Timer(loop_, "remote:cancelled", [this] { fail({Errc::cancelled, "the request was cancelled"}); });
  timer_.arm(cancelled_deadline);
}

}  // namespace hal::remote
