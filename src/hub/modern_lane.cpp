#include "hub/modern_lane.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "hub/modern_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

ModernLane::ModernLane(ModernServer& server, ServerContext& context, std::string session, bool single)
    : server_(server),
      loop_(context.loop),
      session_(std::move(session)),
      single_(single),
      slot_(context, server.name(), link::SessionId{session_}, static_cast<InstanceSlot::Listener&>(*this)),
      deadline_(context.loop, "modern deadlines of " + server.name(), [this] { on_deadline(); }),
      idle_check_(context.loop, "modern idleness of " + server.name(), [this] { on_idle_check(); }) {}

ModernLane::~ModernLane() = default;

// Clients to server.

void ModernLane::from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  last_use_ = loop_.now();
  if (message.kind == jsonrpc::Kind::request) {
    return request(client, message, line);
  }
  if (message.method() == "notifications/cancelled") {
    return cancel(client, message, line);
  }
  if (phase_ == Phase::open) {
    (void)slot_.send(line);
    brake();
  }
}

void ModernLane::request(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  const auto most = server_.config().max_requests;
  if (in_flight_.count_of(client.id()) >= limits::requests_in_flight || (most != 0 && in_flight_.size() >= most)) {
    return server_.fail(client, message.id, jsonrpc::internal_error,
                        fmt::format("too many requests in flight at server {}", server_.name()));
  }
  if (phase_ == Phase::open && slot_.running()) {
    return forward(client, message, line);
  }
  hold(client, message, line);
}

void ModernLane::forward(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  Request request;
  request.client = client.id();
  request.purpose = message.method() == "subscriptions/listen" ? Purpose::listen : Purpose::forward;
  request.id = message.id;
  request.progress_token = message.meta_progress_token;
  request.logs = !message.meta_log_level.empty();
  const auto timeout = server_.config().request_timeout_ms;
  if (timeout != 0 && request.purpose != Purpose::listen) {
    request.deadline = loop_.now() + std::chrono::milliseconds(timeout);
  }
  const bool has_deadline = request.deadline.has_value();
  const auto number = in_flight_.add(std::move(request));
  const fmt::format_int fresh(number);
  jsonrpc::Splice splice(line);
  splice.replace(message.id, {fresh.data(), fresh.size()});
  splice.replace(message.meta_progress_token, {fresh.data(), fresh.size()});
  if (const auto sent = slot_.send(splice.parts()); !sent && sent.error().code == Errc::limit) {
    (void)in_flight_.take(number);
    return server_.fail(client, message.id, jsonrpc::internal_error,
                        fmt::format("server {}: {}", server_.name(), sent.error().message));
  }
  if (has_deadline) {
    arm_deadline();
  }
  brake();
}

void ModernLane::hold(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  if (held_bytes_ + line.size() > limits::waiting_bytes || held_.size() >= limits::requests_in_flight) {
    return server_.fail(client, message.id, jsonrpc::internal_error,
                        fmt::format("server {} is starting and too many requests wait for it", server_.name()));
  }
  held_bytes_ += line.size();
  held_.push_back({client.id(), std::string(message.id), std::string(line)});
  if (const auto wanted = slot_.want(); !wanted) {
    on_instance_unavailable(wanted.error().message);
  }
}

void ModernLane::cancel(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  const auto key = jsonrpc::id_key(message.request_id);
  std::erase_if(held_, [&](const Held& one) {
    const bool cancelled = one.client == client.id() && jsonrpc::id_key(one.id) == key;
    held_bytes_ -= cancelled ? one.line.size() : 0;
    return cancelled;
  });
  const auto number = in_flight_.find_of(client.id(), key);
  if (!number) {
    return;
  }
  const fmt::format_int fresh(*number);
  jsonrpc::Splice splice(line);
  splice.replace(message.request_id, {fresh.data(), fresh.size()});
  (void)slot_.send(splice.parts());
  in_flight_.cancel(*number, loop_.now() + limits::cancelled_deadline);
  arm_deadline();
}

void ModernLane::cancel_at_server(std::uint64_t number) {
  (void)slot_.send(jsonrpc::notification("notifications/cancelled",
                                         fmt::format(R"({{"requestId":{},"reason":"nobody waits for it"}})", number)));
  in_flight_.cancel(number, loop_.now() + limits::cancelled_deadline);
  arm_deadline();
}

void ModernLane::remove(ClientId client) {
  for (const auto number : in_flight_.of(client)) {
    cancel_at_server(number);
  }
  std::erase_if(held_, [&](const Held& one) {
    held_bytes_ -= one.client == client ? one.line.size() : 0;
    return one.client == client;
  });
  if (single_) {
    close();
  }
}

void ModernLane::client_drained() {
  if (single_) {
    slot_.hold(false);
  }
}

void ModernLane::brake() {
  if (!braked_ && slot_.queued_bytes() > limits::server_high_bytes) {
    braked_ = true;
    server_.hold_clients(*this, true);
  }
}

void ModernLane::on_server_drained() {
  if (std::exchange(braked_, false)) {
    server_.hold_clients(*this, false);
  }
}

// The process.

void ModernLane::on_instance_running() {
  phase_ = Phase::probing;
  Request request;
  request.purpose = Purpose::initialize;
  request.deadline = loop_.now() + limits::discover_deadline;
  const auto number = in_flight_.add(std::move(request));
  arm_deadline();
  (void)slot_.send(jsonrpc::request(fmt::format_int(number).c_str(), "server/discover", discover_params()));
}

void ModernLane::on_probe_answer(const jsonrpc::Envelope& message) {
  if (message.kind == jsonrpc::Kind::error && !is_modern_error(message.outcome)) {
    return turned_out_legacy(fmt::format("answers server/discover with {}", text::printable(message.outcome, 160)),
                             true);
  }
  if (message.kind == jsonrpc::Kind::result && jsonrpc::member(message.outcome, "supportedVersions").empty()) {
    return turned_out_legacy("does not understand server/discover", true);
  }
  phase_ = Phase::open;
  last_use_ = loop_.now();
  log::info({{names::field_server, server_.name()}}, "server {} is ready, protocol {}", server_.name(),
            modern_revision);
  server_.on_modern(std::string(server_info_of(message.outcome)));
  watch_idleness();
  for (const auto& one : take_held()) {
    server_.again(one.client, one.line);
  }
}

void ModernLane::turned_out_legacy(const std::string& why, bool for_good) {
  log::info({{names::field_server, server_.name()}}, "server {} {}: it is asked in an older revision", server_.name(),
            why);
  close();
  const auto held = take_held();
  server_.on_legacy(for_good);
  for (const auto& one : held) {
    server_.again(one.client, one.line);
  }
}

/** The process is of no use any more. */
void ModernLane::close() {
  slot_.release();
  phase_ = Phase::closed;
  (void)in_flight_.take_all();
  on_server_drained();
  arm_deadline();
}

void ModernLane::on_instance_ended(const std::string& reason) {
  if (std::exchange(phase_, Phase::closed) == Phase::probing) {
    (void)in_flight_.take_all();
    return turned_out_legacy(fmt::format("{} when asked what it speaks", reason), false);
  }
  log::warning({{names::field_server, server_.name()}}, "server {} {}", server_.name(), reason);
  on_server_drained();
  fail_requests(reason);
  fail_held(reason);
}

void ModernLane::on_instance_unavailable(const std::string& reason) {
  fail_held("is not available: " + reason);
}

void ModernLane::fail_requests(const std::string& reason) {
  for (const auto& request : in_flight_.take_all()) {
    if (auto* client = server_.client(request.client); client != nullptr && !request.cancelled) {
      server_.fail(*client, request.id, jsonrpc::internal_error, fmt::format("server {} {}", server_.name(), reason));
    }
  }
  arm_deadline();
}

std::deque<ModernLane::Held> ModernLane::take_held() {
  held_bytes_ = 0;
  return std::exchange(held_, {});
}

void ModernLane::fail_held(const std::string& reason) {
  for (const auto& one : take_held()) {
    if (auto* client = server_.client(one.client); client != nullptr) {
      server_.fail(*client, one.id, jsonrpc::internal_error, fmt::format("server {} {}", server_.name(), reason));
    }
  }
}

void ModernLane::shut_down(const std::string& reason) {
  fail_requests(reason);
  fail_held(reason);
  close();
}

// Time.

void ModernLane::arm_deadline() {
  const auto now = loop_.now();
  std::optional<Clock::time_point> next;
  if (!in_flight_.overdue(now, next).empty()) {
    next = now;
  }
  if (next) {
    deadline_.arm(std::chrono::duration_cast<std::chrono::microseconds>(*next - now));
  } else {
    deadline_.disarm();
  }
}

void ModernLane::on_deadline() {
  const auto now = loop_.now();
  std::optional<Clock::time_point> next;
  for (const auto number : in_flight_.overdue(now, next)) {
    const auto* request = in_flight_.find(number);
    if (request == nullptr) {
      continue;
    }
    if (request->purpose == Purpose::initialize) {
      return turned_out_legacy("is silent when asked what it speaks", false);
    }
    if (request->cancelled) {
      (void)in_flight_.take(number);
      continue;
    }
    if (auto* client = server_.client(request->client); client != nullptr) {
      server_.fail(*client, request->id, jsonrpc::internal_error,
                   fmt::format("server {} did not answer in time", server_.name()));
    }
    cancel_at_server(number);
  }
  arm_deadline();
}

void ModernLane::watch_idleness() {
  const std::chrono::milliseconds timeout(server_.config().idle_timeout_ms);
  if (timeout.count() == 0 || phase_ != Phase::open) {
    return idle_check_.disarm();
  }
  const auto left = in_flight_.size() > 0 ? timeout : last_use_ + timeout - loop_.now();
  idle_check_.arm(std::chrono::duration_cast<std::chrono::microseconds>(left));
}

void ModernLane::on_idle_check() {
  const std::chrono::milliseconds timeout(server_.config().idle_timeout_ms);
  if (phase_ == Phase::open && timeout.count() != 0 && in_flight_.size() == 0 && loop_.now() >= last_use_ + timeout) {
    log::info({{names::field_server, server_.name()}}, "server {} is not used in this revision and may end",
              server_.name());
    return close();
  }
  watch_idleness();
}

}  // namespace hal::hub
