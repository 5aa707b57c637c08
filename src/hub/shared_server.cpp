#include "hub/shared_server.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

SharedServer::SharedServer(ServerContext& context, link::ServerSet config)
    : Server(context, std::move(config)),
      slot_(context, name(), std::nullopt, static_cast<InstanceSlot::Listener&>(*this)),
      deadline_(context.loop, "deadlines of " + name(), [this] { on_deadline(); }),
      idle_check_(context.loop, "idleness of " + name(), [this] { on_idle_check(); }) {}

SharedServer::~SharedServer() = default;

void SharedServer::attach(link::InstanceAttach instance) {
  slot_.attach(std::move(instance));
}

void SharedServer::gone(const link::InstanceGone& news) {
  slot_.gone(news);
}

void SharedServer::unavailable(const link::ServerUnavailable& news) {
  slot_.unavailable(news);
}

void SharedServer::daemon_returned() {
  slot_.daemon_returned();
}

std::vector<InstanceId> SharedServer::instances() const {
  const auto instance = slot_.instance();
  return instance ? std::vector{*instance} : std::vector<InstanceId>{};
}

SharedServer::Seat* SharedServer::seat_of(ClientId client) {
  const auto found = seats_.find(client);
  return found != seats_.end() ? &found->second : nullptr;
}

bool SharedServer::anybody_greeted() const {
  return std::any_of(seats_.begin(), seats_.end(), [](const auto& entry) { return entry.second.greeted; });
}

Result<void> SharedServer::do_add(Client& client) {
  seats_.emplace(client.id(), Seat{&client, {}, {}, false, false, {}, {}});
  if (braked_) {
    client.hold(true);
  }
  return {};
}

void SharedServer::do_remove(Client& client) {
  const auto id = client.id();
  for (const auto number : in_flight_.of(id)) {
    cancel_at_server(number);
  }
  for (const auto& question : questions_.take_all_of(id)) {
    (void)slot_.send(jsonrpc::error_response(question.server_id, jsonrpc::connection_closed, "the client is gone"));
  }
  std::erase_if(held_, [&](const Held& held) {
    held_bytes_ -= held.client == id ? held.line.size() : 0;
    return held.client == id;
  });
  seats_.erase(id);
  for (const auto& uri : subscriptions_.remove(id)) {
    send_upkeep("resources/unsubscribe", fmt::format(R"({{"uri":{}}})", jsonrpc::quote(uri)));
  }
  for (const auto& task : tasks_.remove(id)) {
    abandon_task(task);
  }
  merge_log_level();
}

bool SharedServer::takes_batches(const Client& client) const {
  const auto found = seats_.find(client.id());
  return found != seats_.end() && found->second.revision == batch_revision;
}

void SharedServer::do_from_client(Client& client, const Envelope& message, std::string_view line) {
  auto& seat = seats_.at(client.id());
  used();
  if (message.kind == jsonrpc::Kind::request) {
    up_request(seat, message, line);
  } else if (message.kind == jsonrpc::Kind::notification) {
    up_notification(seat, message, line);
  } else {
    up_response(seat, message, line);
  }
}

void SharedServer::shut_down(const std::string& reason) {
  fail_requests(reason);
  withdraw_questions();
  fail_all_held(reason);
  fail_initializes(jsonrpc::code_of(Errc::unavailable), reason);
  slot_.release();
  hello_.reset();
  for (auto& [id, seat] : seats_) {
    seat.client->end(reason);
  }
}

// The handshake.

void SharedServer::advance() {
  if (serving()) {
    for (auto& [id, seat] : seats_) {
      if (!seat.initialize_id.empty()) {
        answer_initialize(seat);
      }
    }
    return replay_held();
  }
  if (slot_.running()) {
    return start_handshake();
  }
  if (const auto wanted = slot_.want(); !wanted) {
    on_instance_unavailable(wanted.error().message);
  }
}

void SharedServer::start_handshake() {
  if (std::exchange(handshaking_, true)) {
    return;
  }
  std::vector<ClientHello> hellos;
  for (const auto& [id, seat] : seats_) {
    if (seat.hello) {
      hellos.push_back(*seat.hello);
    }
  }
  Request request;
  request.purpose = Purpose::initialize;
  request.deadline = context().loop.now() + context().deadlines.handshake;
  const auto number = in_flight_.add(std::move(request));
  arm_deadline();
  (void)slot_.send(jsonrpc::request(fmt::format_int(number).c_str(), "initialize", server_hello_params(hellos)));
}

void SharedServer::finish_handshake(const Envelope& message) {
  handshaking_ = false;
  if (message.kind == jsonrpc::Kind::error && refuses_legacy(message.outcome)) {
    return hand_over_to_modern();
  }
  if (message.kind == jsonrpc::Kind::error) {
    return refuse_handshake(jsonrpc::internal_error, fmt::format("refused to initialize: {}", message.outcome));
  }
  auto hello = read_server_hello(message.outcome);
  if (!hello) {
    return refuse_handshake(jsonrpc::internal_error, "answered initialize wrongly: " + hello.error().message);
  }
  hello_ = std::move(*hello);
  set_identity(hello_->revision, hello_->server_info);
  used();
  watch_idleness();
  log::info({{names::field_server, name()}}, "server {} is ready, protocol {}", name(), hello_->revision);
  if (anybody_greeted()) {
    restore_state();
  }
  advance();
}

/**
 * The program speaks the modern revision only. This process, opened with `initialize`, is of no use; without an idle
 * timeout the daemon would only start another one like it.
 */
void SharedServer::hand_over_to_modern() {
  log::info({{names::field_server, name()}}, "server {} refuses to initialize: it is asked in revision {}", name(),
            modern_revision);
  if (config().idle_timeout_ms != 0) {
    slot_.release();
  }
  std::vector<std::pair<Client*, std::string>> waiting;
  for (auto& [id, seat] : seats_) {
    if (seat.hello && seat.greeted) {
      seat.client->end("the server has become another program");
    } else if (seat.hello) {
      const auto info = seat.hello->client_info.empty() ? "" : R"(,"clientInfo":)" + seat.hello->client_info;
      waiting.emplace_back(seat.client, jsonrpc::request(std::exchange(seat.initialize_id, {}), "initialize",
                                                         fmt::format(R"({{"protocolVersion":{},"capabilities":{}{}}})",
                                                                     jsonrpc::quote(seat.hello->revision),
                                                                     seat.hello->capabilities, info)));
    }
    seat.hello.reset();
  }
  fail_all_held("has become another program");
  for (const auto& [client, line] : waiting) {
    turn_modern(*client, line);
  }
}

/** The process is of no use; the next client's initialize gets another one. */
void SharedServer::refuse_handshake(int code, const std::string& reason) {
  log::warning({{names::field_server, name()}}, "server {} {}", name(), reason);
  slot_.release();
  handshaking_ = false;
  hello_.reset();
  fail_requests(reason);
  fail_initializes(code, reason);
  fail_all_held(reason);
}

void SharedServer::fail_initializes(int code, const std::string& reason) {
  for (auto& [id, seat] : seats_) {
    if (!seat.initialize_id.empty()) {
      seat.hello.reset();
      fail(*seat.client, std::exchange(seat.initialize_id, {}), code, fmt::format("server {} {}", name(), reason));
    }
  }
}

/** Tells a new process what the old one knew, and the clients that its lists may differ. */
void SharedServer::restore_state() {
  ensure_initialized();
  for (const auto& uri : subscriptions_.uris()) {
    send_upkeep("resources/subscribe", fmt::format(R"({{"uri":{}}})", jsonrpc::quote(uri)));
  }
  merge_log_level();
  const std::pair<bool, std::string_view> lists[] = {
      {hello_->tools_list_changed, "notifications/tools/list_changed"},
      {hello_->resources_list_changed, "notifications/resources/list_changed"},
      {hello_->prompts_list_changed, "notifications/prompts/list_changed"},
  };
  for (const auto& [announced, method] : lists) {
    const std::string line = jsonrpc::notification(method, "");
    const std::array parts{std::string_view(line)};
    for (const auto& [id, seat] : seats_) {
      if (announced && seat.ready) {
        notify(*seat.client, parts);
      }
    }
  }
}

void SharedServer::answer_initialize(Seat& seat) {
  seat.greeted = true;
  seat.revision = revision_for(*hello_, seat.hello->revision);
  answer(*seat.client, std::exchange(seat.initialize_id, {}), result_for(*hello_, seat.hello->revision));
}

void SharedServer::ensure_initialized() {
  if (!std::exchange(initialized_sent_, true)) {
    (void)slot_.send(jsonrpc::notification("notifications/initialized", ""));
  }
}

// The process.

void SharedServer::on_instance_running() {
  const bool somebody_waits =
      std::any_of(seats_.begin(), seats_.end(), [](const auto& entry) { return entry.second.hello.has_value(); });
  if (somebody_waits) {
    advance();
  }
}

void SharedServer::on_server_drained() {
  if (std::exchange(braked_, false)) {
    for (const auto& [id, seat] : seats_) {
      seat.client->hold(false);
    }
  }
}

/** Clients that fill the server's queue faster than it reads wait, all of them: the queue is theirs together. */
void SharedServer::brake() {
  if (!braked_ && slot_.queued_bytes() > limits::server_high_bytes) {
    braked_ = true;
    for (const auto& [id, seat] : seats_) {
      seat.client->hold(true);
    }
  }
}

void SharedServer::on_instance_ended(const std::string& reason) {
  log::warning({{names::field_server, name()}}, "server {} {}", name(), reason);
  const bool was_serving = hello_.has_value();
  hello_.reset();
  handshaking_ = initialized_sent_ = false;
  log_level_sent_.reset();
  on_server_drained();
  withdraw_questions();
  tasks_.clear();
  fail_requests(was_serving ? reason + ", restarting" : reason);
  if (!was_serving) {
    fail_initializes(jsonrpc::internal_error, reason);
    fail_all_held(reason);
  }
  if (anybody_greeted()) {
    advance();
  }
}

void SharedServer::on_instance_unavailable(const std::string& reason) {
  fail_initializes(jsonrpc::code_of(Errc::unavailable), "is not available: " + reason);
  fail_all_held("is not available: " + reason);
}

void SharedServer::on_instance_retry() {
  if (anybody_greeted()) {
    advance();
  }
}

/** The answer to every request that the process can answer no more. */
void SharedServer::fail_requests(const std::string& reason) {
  for (const auto& request : in_flight_.take_all()) {
    if (request.purpose == Purpose::subscribe || request.purpose == Purpose::unsubscribe) {
      settle_subscription(request, false);
    }
    if (auto* seat = seat_of(request.client); seat != nullptr && !request.cancelled) {
      fail(*seat->client, request.id, jsonrpc::internal_error, fmt::format("server {} {}", name(), reason));
    }
  }
}

// Requests that wait for a process.

void SharedServer::hold(Seat& seat, const Envelope& message, std::string_view line) {
  if (held_bytes_ + line.size() > limits::waiting_bytes || held_.size() >= limits::requests_in_flight) {
    return fail(*seat.client, message.id, jsonrpc::code_of(Errc::limit),
                fmt::format("server {} is starting and too many requests wait for it", name()));
  }
  held_bytes_ += line.size();
  held_.push_back({seat.client->id(), std::string(message.id), std::string(line),
                   context().loop.now() + context().deadlines.instance});
  arm_deadline();
  advance();
}

void SharedServer::replay_held() {
  const auto held = std::exchange(held_, {});
  held_bytes_ = 0;
  for (const auto& one : held) {
    if (auto* seat = seat_of(one.client); seat != nullptr) {
      do_from_client(*seat->client, jsonrpc::scan(one.line), one.line);
    }
  }
}

void SharedServer::fail_first_held(const std::string& reason) {
  const auto held = std::move(held_.front());
  held_.pop_front();
  held_bytes_ -= held.line.size();
  if (auto* seat = seat_of(held.client); seat != nullptr) {
    fail(*seat->client, held.id, jsonrpc::code_of(Errc::unavailable), fmt::format("server {} {}", name(), reason));
  }
}

void SharedServer::fail_all_held(const std::string& reason) {
  while (!held_.empty()) {
    fail_first_held(reason);
  }
}

// Deadlines.

void SharedServer::arm_deadline() {
  const auto now = context().loop.now();
  std::optional<Clock::time_point> next;
  if (!in_flight_.overdue(now, next).empty()) {
    next = now;
  }
  if (!held_.empty() && (!next || held_.front().deadline < *next)) {
    next = held_.front().deadline;
  }
  if (next) {
    deadline_.arm(std::chrono::duration_cast<std::chrono::microseconds>(*next - now));
  } else {
    deadline_.disarm();
  }
}

void SharedServer::on_deadline() {
  const auto now = context().loop.now();
  std::optional<Clock::time_point> next;
  for (const auto number : in_flight_.overdue(now, next)) {
    expire(number);
  }
  while (!held_.empty() && held_.front().deadline <= now) {
    fail_first_held("did not start in time");
  }
  arm_deadline();
}

void SharedServer::expire(std::uint64_t number) {
  const auto* request = in_flight_.find(number);
  if (request == nullptr) {
    return;
  }
  if (request->purpose == Purpose::initialize) {
    return refuse_handshake(jsonrpc::request_timeout, "did not answer initialize in time");
  }
  if (request->cancelled || request->purpose == Purpose::upkeep) {
    settle_subscription(in_flight_.take(number), false);
    return;
  }
  if (auto* seat = seat_of(request->client); seat != nullptr) {
    fail(*seat->client, request->id, jsonrpc::request_timeout, fmt::format("server {} did not answer in time", name()));
  }
  if (is_cancellable(request->purpose)) {
    return cancel_at_server(number);
  }
  settle_subscription(in_flight_.take(number), false);
}

}  // namespace hal::hub
