#include "engine/connection.hpp"

#include "base/names.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::engine {

Connection::Connection(event::Loop& loop, curl::Multi& multi, const Options& options, Listener& listener)
    : loop_(loop),
      multi_(multi),
      options_(options),
      listener_(listener),
      backoff_(options.backoff_min),
      retry_(loop, "engine:retry", [this] { attempt(); }),
      heartbeat_(loop, "engine:heartbeat", [this] { beat(); }) {
  retry_.arm(std::chrono::microseconds(0));
}

Connection::~Connection() = default;

void Connection::attempt() {
  ask("/_ping", &Connection::on_ping);
}

void Connection::ask(const std::string& target, Step step) {
  auto spec = request_to(options_, "GET", target);
  spec.deadlines.total = options_.ping_deadline;
  curl::Request::Callbacks callbacks;
  callbacks.on_done = [this, step, target](Result<curl::Response> response) {
    if (!response) {
      return go_down(connection_error(options_, response.error()));
    }
    if (auto status = check_status(response->status, response->body, target, Errc::unavailable); !status) {
      return go_down({Errc::unavailable, fmt::format("{}: {}", options_.socket, status.error().message)});
    }
    (this->*step)(*response);
  };
  request_ = std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks));
}

void Connection::on_ping(const curl::Response& /*response*/) {
  // Its Api-Version header would do, but only /version tells the oldest one.
  ask("/version", &Connection::on_version);
}

void Connection::on_version(const curl::Response& response) {
  const auto version = read_version(response.body);
  if (!version) {
    return go_down(version.error());
  }
  const auto agreed = negotiate(*version);
  if (!agreed) {
    return go_down(agreed.error());
  }
  info_ = {};
  info_.version = version->engine;
  info_.api_version = agreed->text();
  prefix_ = "/v" + info_.api_version;
  ask(prefix_ + "/info", &Connection::on_info);
}

void Connection::on_info(const curl::Response& response) {
  if (auto read = read_info(response.body, info_); !read) {
    return go_down(read.error());
  }
  listen();
}

void Connection::listen() {
  const auto filter = label_filter({{names::label_instance, options_.instance}});
  auto spec = request_to(options_, "GET", fmt::format("{}/events?filters={}", prefix_, curl::escape(filter)));
  spec.deadlines.answer = options_.ping_deadline;
  curl::Request::Callbacks callbacks;
  callbacks.on_headers = [this](const curl::Response& response) { on_listening(response); };
  callbacks.on_data = [this](std::string_view bytes) { return on_events(bytes); };
  callbacks.on_done = [this](Result<curl::Response> response) {
    if (!response) {
      return go_down(connection_error(options_, response.error()));
    }
    const auto status = check_status(response->status, response->body, "/events", Errc::unavailable);
    go_down(status ? Error{Errc::unavailable, "the container engine ended its event stream"} : status.error());
  };
  reader_ = EventReader();
  events_ = std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks));
}

void Connection::on_listening(const curl::Response& response) {
  if (response.status == 200) {
    go_up();
  }
}

std::size_t Connection::on_events(std::string_view bytes) {
  const std::weak_ptr<const bool> alive = alive_;
  if (heartbeat_.armed()) {
    heartbeat_.arm(options_.heartbeat);
  }
  reader_.feed(bytes);
  for (;;) {
    auto event = reader_.next();
    if (!event) {
      // A line was lost, and with it perhaps an event: coming up again makes everyone look anew.
      go_down({Errc::unavailable, event.error().message});
      return bytes.size();
    }
    if (!*event) {
      return bytes.size();
    }
    listener_.on_container_event(**event);
    if (alive.expired()) {
      return bytes.size();
    }
  }
}

/**
 * A stream of its own: one filter cannot ask for our containers' events and for all images'. Its lines are hints and
 * not read; its end, while the other stream goes on, only makes news of images come later.
 */
void Connection::listen_for_images() {
  constexpr const char filter[] = R"({"event":["delete","import","load","pull","tag","untag"],"type":["image"]})";
  auto spec = request_to(options_, "GET", fmt::format("{}/events?filters={}", prefix_, curl::escape(filter)));
  spec.deadlines.answer = options_.ping_deadline;
  curl::Request::Callbacks callbacks;
  callbacks.on_data = [this](std::string_view bytes) {
    const auto size = bytes.size();
    listener_.on_image_event();
    return size;
  };
  callbacks.on_done = [](const Result<curl::Response>&) {};
  images_ = std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks));
}

void Connection::on_call() {
  if (up_ && ping_ == nullptr && !heartbeat_.armed()) {
    heartbeat_.arm(options_.heartbeat);
  }
}

void Connection::beat() {
  if (!listener_.calls_wait()) {
    return;
  }
  auto spec = request_to(options_, "GET", "/_ping");
  spec.deadlines.total = options_.ping_deadline;
  curl::Request::Callbacks callbacks;
  callbacks.on_done = [this](Result<curl::Response> response) {
    if (!response) {
      return go_down(connection_error(options_, response.error()));
    }
    if (auto status = check_status(response->status, response->body, "/_ping", Errc::unavailable); !status) {
      return go_down(status.error());
    }
    heartbeat_.arm(options_.heartbeat);
    ping_.reset();
  };
  ping_ = std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks));
}

void Connection::go_up() {
  up_ = true;
  told_down_ = false;
  up_since_ = std::chrono::steady_clock::now();
  listen_for_images();
  listener_.on_connection_up();
}

void Connection::go_down(Error reason) {
  request_.reset();
  events_.reset();
  images_.reset();
  ping_.reset();
  heartbeat_.disarm();
  // An engine that keeps failing right after it came up must not be asked ten times a second.
  if (up_ && std::chrono::steady_clock::now() - up_since_ > options_.backoff_max) {
    backoff_ = options_.backoff_min;
  }
  up_ = false;
  reason_ = std::move(reason);
  retry_.arm(backoff_);
  backoff_ = std::min(backoff_ * 2, options_.backoff_max);
  if (!std::exchange(told_down_, true)) {
    const Error copy = reason_;
    listener_.on_connection_down(copy);
  }
}

}  // namespace hal::engine
