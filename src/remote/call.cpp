#include "remote/call.hpp"

#include "base/limits.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include <fmt/format.h>

namespace hal::remote {

namespace {

constexpr std::chrono::seconds connect_deadline{15};
/** Of the body of an answer that is none: it is read for an error message in it. */
constexpr std::size_t max_refusal_bytes = std::size_t{1} << 20;
constexpr int max_redirects = 5;

bool is_media_type(std::string_view type, std::string_view wanted) {
  const auto bare = text::trim(type.substr(0, type.find(';')));
  return std::ranges::equal(bare, wanted, [](unsigned char one, unsigned char other) {
    return std::tolower(one) == static_cast<int>(other);
  });
}

std::string header_of(const curl::Response& response, std::string_view name) {
  const auto* value = response.header(name);
  return value != nullptr ? *value : std::string();
}

std::string_view meaning(int status) {
  constexpr std::array<std::pair<int, std::string_view>, 13> known{{{400, "Bad Request"},
                                                                    {401, "Unauthorized"},
                                                                    {402, "Payment Required"},
                                                                    {403, "Forbidden"},
                                                                    {404, "Not Found"},
                                                                    {405, "Method Not Allowed"},
                                                                    {406, "Not Acceptable"},
                                                                    {413, "Content Too Large"},
                                                                    {429, "Too Many Requests"},
                                                                    {500, "Internal Server Error"},
                                                                    {502, "Bad Gateway"},
                                                                    {503, "Service Unavailable"},
                                                                    {504, "Gateway Timeout"}}};
  const auto* found = std::ranges::find(known, status, &std::pair<int, std::string_view>::first);
  return found != known.end() ? found->second : std::string_view();
}

Errc code_of_status(int status) {
  if (status == 401 || status == 403) {
    return Errc::denied;
  }
  if (status == 429) {
    return Errc::busy;
  }
  if (status == 408 || status == 504) {
    return Errc::timed_out;
  }
  return status >= 500 || status == 404 || status == 410 ? Errc::unavailable : Errc::protocol;
}

/** "120" or a date: nothing else may get into a message. */
bool is_retry_after(std::string_view text) {
  return !text.empty() && text.size() <= 40 && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == ' ' || c == ',' || c == ':';
  });
}

}  // namespace

Error status_error(const Settings& settings, const Answer& answer) {
  auto message = fmt::format("{}: answered with HTTP status {}", settings.url.host, answer.status);
  if (const auto words = meaning(answer.status); !words.empty()) {
    message += fmt::format(" ({})", words);
  }
  if (is_retry_after(answer.retry_after)) {
    message += fmt::format("; Retry-After: {}", answer.retry_after);
  }
  return {code_of_status(answer.status), std::move(message)};
}

Error overlong_error(const Settings& settings) {
  return {Errc::limit, fmt::format("{}: answered with more than {} bytes", settings.url.host, limits::mcp_line_bytes)};
}

Call::Call(const Web& web, CallSpec spec, Callbacks callbacks)
    : web_(web), spec_(std::move(spec)), callbacks_(std::make_shared<const Callbacks>(std::move(callbacks))) {
  send(std::move(spec_.body));
}

Call::~Call() {
  web_.outlet.forget(*this);
}

void Call::send(std::string body) {
  curl::RequestSpec request;
  request.method = spec_.method;
  request.url = spec_.url.text;
  request.label = spec_.url.host;
  request.headers = spec_.headers;
  request.headers.insert(request.headers.end(), web_.settings.headers.begin(), web_.settings.headers.end());
  request.body = std::move(body);
  request.max_body_bytes = max_refusal_bytes;
  request.deadlines = {connect_deadline, spec_.answer, spec_.idle, {}};
  request.proxy = web_.settings.proxy;
  request.ca_file = web_.settings.ca_file;
  request.http2 = true;
  request.repeatable = spec_.method == "GET";
  request_ = std::make_unique<curl::Request>(
      web_.multi, std::move(request),
      curl::Request::Callbacks{.on_done = [this](Result<curl::Response> result) { on_done(std::move(result)); },
                               .on_headers = [this](const curl::Response& response) { on_head(response); },
                               .on_data = [this](std::string_view bytes) { return on_data(bytes); }});
}

void Call::on_head(const curl::Response& response) {
  if (response.status / 100 == 2) {
    events_ = is_media_type(header_of(response, "content-type"), "text/event-stream");
    if (const auto callbacks = callbacks_; callbacks->on_head) {
      callbacks->on_head(response);
    }
  }
}

std::size_t Call::on_data(std::string_view bytes) {
  const auto held = (events_ ? parser_.pending() : body_.size()) + bytes.size();
  if (!web_.outlet.may_read(*this, held)) {
    return 0;
  }
  if (events_) {
    return read_events(bytes);
  }
  if (held > limits::mcp_line_bytes) {
    const auto callbacks = callbacks_;
    request_.reset();
    callbacks->on_end(overlong_error(web_.settings));
    return bytes.size();
  }
  body_ += bytes;
  return bytes.size();
}

std::size_t Call::read_events(std::string_view bytes) {
  const auto callbacks = callbacks_;
  bool gone = false;
  const auto check = alive_.wrap([&gone] { gone = false; });
  for (std::size_t taken = 0; taken < bytes.size();) {
    std::optional<Event> event;
    taken += parser_.feed(bytes.substr(taken), event);
    const bool overlong = parser_.take_overlong() != 0;
    if (!event && !overlong) {
      continue;
    }
    web_.outlet.release(*this);
    gone = true;
    if (event) {
      callbacks->on_event(*std::move(event));
    } else if (callbacks->on_overlong) {
      callbacks->on_overlong();
    }
    check();
    if (gone) {
      return bytes.size();
    }
    if (taken < bytes.size() && !web_.outlet.may_read(*this, 0)) {
      return taken;
    }
  }
  return bytes.size();
}

void Call::on_room() {
  if (request_) {
    request_->resume();
  }
}

void Call::on_done(Result<curl::Response> result) {
  const auto callbacks = callbacks_;
  const auto& end = callbacks->on_end;
  if (!result) {
    return end(result.error());
  }
  auto& response = *result;
  if (response.status / 100 == 3) {
    std::optional<Error> error;
    if (redirect(response, error)) {
      return;
    }
    if (error) {
      return end(*std::move(error));
    }
  }
  Answer answer;
  answer.status = response.status;
  answer.events = events_;
  answer.type = header_of(response, "content-type");
  answer.retry_after = header_of(response, "retry-after");
  answer.body = response.status / 100 == 2 ? std::move(body_) : std::move(response.body);
  answer.request_body = std::move(response.request_body);
  web_.outlet.release(*this);
  end(std::move(answer));
}

bool Call::redirect(curl::Response& response, std::optional<Error>& error) {
  const auto* location = response.header("location");
  const bool same_method = response.status == 307 || response.status == 308;
  const bool kind = same_method || (spec_.method == "GET" && response.status != 304);
  if (location == nullptr || !kind) {
    return false;
  }
  const auto target = curl::resolve(spec_.url, *location);
  if (!target) {
    error = target.error().with(spec_.url.host + ": redirects to what");
  } else if (target->origin != web_.settings.url.origin) {
    error = Error{Errc::protocol, fmt::format("{}: redirects to {}, another server, which is not followed",
                                              spec_.url.host, text::printable(target->origin))};
  } else if (++redirects_ > max_redirects) {
    error = Error{Errc::protocol, fmt::format("{}: redirects in a circle", spec_.url.host)};
  } else {
    spec_.url = *target;
    send(std::move(response.request_body));  // ends the request whose callback this is
    return true;
  }
  return false;
}

}  // namespace hal::remote
