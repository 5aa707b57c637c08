#include "remote/server_stream.hpp"

#include "base/log.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::remote {

namespace {

constexpr std::chrono::milliseconds first_retry{1000};
constexpr std::chrono::milliseconds min_retry{100};
constexpr std::chrono::milliseconds max_retry{60'000};
/** For the old transport's stream to begin and to name its other endpoint. */
constexpr std::chrono::seconds endpoint_deadline{30};

}  // namespace

ServerStream::ServerStream(event::Loop& loop, const Web& web, const Session& session, Listener& listener)
    : loop_(loop),
      web_(web),
      session_(session),
      listener_(listener),
      retry_(first_retry),
      timer_(loop, "remote:stream", [] {}) {}

void ServerStream::open() {
  close();
  get();
}

void ServerStream::close() {
  call_.reset();
  timer_.disarm();
  endpoint_known_ = false;
  failures_ = 0;
  last_id_.clear();
  retry_ = first_retry;
}

void ServerStream::get() {
  const bool old = web_.settings.transport == Transport::sse;
  CallSpec spec;
  spec.method = "GET";
  spec.url = web_.settings.url;
  spec.headers = session_headers(session_);
  spec.headers.emplace_back("Accept: text/event-stream");
  if (!last_id_.empty()) {
    spec.headers.push_back("Last-Event-ID: " + last_id_);
  }
  // Else no deadline: servers may send the header with the first event, and dead peers are the kernel's to find.
  if (old) {
    spec.answer = endpoint_deadline;
    timer_ = event::Timer(loop_, "remote:endpoint", [this] {
      on_end(Error{Errc::timed_out, fmt::format("{}: named no endpoint in time", web_.settings.url.host)});
    });
    timer_.arm(endpoint_deadline);
  }
  call_ =
      std::make_unique<Call>(web_, std::move(spec),
                             Call::Callbacks{.on_head = [this](const curl::Response&) { failures_ = 0; },
                                             .on_event = [this](const Event& event) { on_event(event); },
                                             .on_overlong =
                                                 [this] {
                                                   log::warning({}, "{}: a message of more than {} bytes was dropped",
                                                                web_.settings.url.host, limits::mcp_line_bytes);
                                                 },
                                             .on_end = [this](const Result<Answer>& end) { on_end(end); }});
}

void ServerStream::on_event(const Event& event) {
  failures_ = 0;
  if (web_.settings.transport == Transport::http || event.type != "endpoint") {
    return listener_.on_server_message(event.data);
  }
  if (std::exchange(endpoint_known_, true)) {
    return;
  }
  timer_.disarm();
  auto target = curl::resolve(web_.settings.url, event.data);
  if (!target || target->origin != web_.settings.url.origin) {
    return on_end(Error{Errc::protocol,
                        fmt::format("{}: names an endpoint that is not on the same server", web_.settings.url.host)});
  }
  listener_.on_endpoint(*std::move(target));
}

void ServerStream::on_end(const Result<Answer>& result) {
  const auto& host = web_.settings.url.host;
  const int status = result ? result->status : 0;
  if (web_.settings.transport == Transport::sse) {
    const auto reason = !result          ? result.error()
                        : status != 200  ? status_error(web_.settings, *result)
                        : result->events ? Error{Errc::disconnected, host + ": the event stream ended"}
                                         : Error{Errc::protocol, host + ": is no event stream"};
    close();
    return listener_.on_stream_lost(reason);
  }
  if (status == 404 && !session_.id.empty()) {
    call_.reset();
    return listener_.on_stream_lost({Errc::disconnected, host + ": does not know the session any more"});
  }
  const bool refused = status >= 300 && status < 500 && status != 408 && status != 429;
  if (refused || (status / 100 == 2 && !result->events)) {
    call_.reset();  // it has none, and need not have
    if (status != 405) {
      log::notice({}, "{}: no stream for the server's own messages: HTTP status {}", host, status);
    }
    return;
  }
  open_later();
}

void ServerStream::open_later() {
  if (call_ && !call_->last_id().empty()) {
    last_id_ = call_->last_id();
  }
  if (call_) {
    retry_ = std::clamp(call_->retry().value_or(retry_), min_retry, max_retry);
  }
  call_.reset();
  timer_ = event::Timer(loop_, "remote:stream again", [this] { get(); });
  timer_.arm(std::min(max_retry, retry_ * (1 << std::min(failures_++, 6))));
}

}  // namespace hal::remote
