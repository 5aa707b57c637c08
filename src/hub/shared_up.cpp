// Clients to server, in shared mode.
#include "base/log.hpp"
#include "base/names.hpp"
#include "hub/hub_limits.hpp"
#include "hub/routes.hpp"
#include "hub/shared_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

void SharedServer::up_request(Seat& seat, const Envelope& message, std::string_view line) {
  switch (const auto route = up_request_route(message.method())) {
    case UpRoute::answer_initialize:
      return on_initialize(seat, message);
    case UpRoute::answer_ping:
      return answer(*seat.client, message.id, "{}");
    default:
      if (!admit(seat, message, line)) {
        return;
      }
      if (route == UpRoute::merge_log_level) {
        return on_set_level(seat, message);
      }
      if (route == UpRoute::merge_subscribe || route == UpRoute::merge_unsubscribe) {
        return on_subscription(seat, message, line, route == UpRoute::merge_subscribe);
      }
      if (route == UpRoute::forward_own_task) {
        return on_own_task(seat, message, line);
      }
      return forward(seat, message, line, route == UpRoute::forward_task_list ? Purpose::list_tasks : Purpose::forward,
                     {});
  }
}

bool SharedServer::admit(Seat& seat, const Envelope& message, std::string_view line) {
  if (!seat.hello) {
    fail(*seat.client, message.id, jsonrpc::invalid_request, "initialize first");
    return false;
  }
  const auto client = seat.client->id();
  const auto key = jsonrpc::id_key(message.id);
  const bool is_held = std::any_of(held_.begin(), held_.end(), [&](const Held& held) {
    return held.client == client && jsonrpc::id_key(held.id) == key;
  });
  if (is_held || in_flight_.find_of(client, key)) {
    fail(*seat.client, message.id, jsonrpc::invalid_request, "a request with this id is in flight");
    return false;
  }
  if (in_flight_.count_of(client) >= limits::requests_in_flight ||
      (config().max_requests != 0 && in_flight_.size() >= config().max_requests)) {
    fail(*seat.client, message.id, jsonrpc::code_of(Errc::limit),
         fmt::format("too many requests in flight at server {}", name()));
    return false;
  }
  if (!serving() || !seat.greeted) {
    hold(seat, message, line);
    return false;
  }
  ensure_initialized();
  return true;
}

void SharedServer::forward(Seat& seat, const Envelope& message, std::string_view line, Purpose purpose,
                           std::string uri) {
  Request request;
  request.purpose = purpose;
  request.client = seat.client->id();
  request.id = message.id;
  request.progress_token = message.meta_progress_token;
  request.uri = std::move(uri);
  request.makes_task = !message.task.empty();
  if (purpose == Purpose::await_task) {
    request.task_id = jsonrpc::unescape(message.task_id);
  } else if (config().request_timeout_ms != 0) {
    request.deadline = context().loop.now() + std::chrono::milliseconds(config().request_timeout_ms);
  }
  const bool has_deadline = request.deadline.has_value();
  const fmt::format_int number(in_flight_.add(std::move(request)));
  const std::string_view fresh(number.data(), number.size());
  jsonrpc::Splice splice(line);
  splice.replace(message.id, fresh);
  splice.replace(message.meta_progress_token, fresh);
  if (const auto sent = slot_.send(splice.parts()); !sent && sent.error().code == Errc::limit) {
    std::uint64_t open = 0;
    if (in_flight_.find(fresh, open) != nullptr) {
      settle_subscription(in_flight_.take(open), false);
    }
    return fail(*seat.client, message.id, jsonrpc::code_of(Errc::limit),
                fmt::format("server {}: {}", name(), sent.error().message));
  }
  if (has_deadline) {
    arm_deadline();
  }
  brake();
}

void SharedServer::on_initialize(Seat& seat, const Envelope& message) {
  if (seat.hello) {
    return fail(*seat.client, message.id, jsonrpc::invalid_request, "the session is initialized already");
  }
  auto hello = read_client_hello(message.params);
  if (!hello) {
    return fail(*seat.client, message.id, jsonrpc::invalid_params, hello.error().message);
  }
  seat.hello = std::move(*hello);
  seat.initialize_id = message.id;
  advance();
}

void SharedServer::on_set_level(Seat& seat, const Envelope& message) {
  if (!hello_->logging) {
    return fail(*seat.client, message.id, jsonrpc::method_not_found, fmt::format("server {} does not log", name()));
  }
  const auto level = read_log_level(message.params);
  if (!level) {
    return fail(*seat.client, message.id, jsonrpc::invalid_params, level.error().message);
  }
  seat.log_level = *level;
  answer(*seat.client, message.id, "{}");
  merge_log_level();
}

/** The server is told the most talkative of all clients' levels; who asked for less is sent less. */
void SharedServer::merge_log_level() {
  std::optional<int> wanted;
  for (const auto& [id, seat] : seats_) {
    if (seat.log_level && (!wanted || *seat.log_level < *wanted)) {
      wanted = seat.log_level;
    }
  }
  if (!serving() || !wanted || wanted == log_level_sent_) {
    return;
  }
  log_level_sent_ = wanted;
  send_upkeep("logging/setLevel", fmt::format(R"({{"level":"{}"}})", log_level_name(*wanted)));
}

void SharedServer::on_subscription(Seat& seat, const Envelope& message, std::string_view line, bool subscribe) {
  const auto client = seat.client->id();
  auto uri = jsonrpc::unescape(message.uri);
  if (uri.empty()) {
    return fail(*seat.client, message.id, jsonrpc::invalid_params, "params.uri: must be a string");
  }
  if (subscribe && subscriptions_.count_of(client) >= limits::subscriptions_per_session) {
    return fail(*seat.client, message.id, jsonrpc::code_of(Errc::limit), "too many subscriptions");
  }
  switch (subscribe ? subscriptions_.subscribe(client, uri) : subscriptions_.unsubscribe(client, uri)) {
    case Subscriptions::Decision::done:
      return answer(*seat.client, message.id, "{}");
    case Subscriptions::Decision::ask:
      return forward(seat, message, line, subscribe ? Purpose::subscribe : Purpose::unsubscribe, std::move(uri));
    case Subscriptions::Decision::wait:
      if (!subscriptions_.wait(uri, {client, std::string(line)})) {
        fail(*seat.client, message.id, jsonrpc::code_of(Errc::limit), "too many requests for this resource");
      }
      return;
  }
}

void SharedServer::up_notification(Seat& seat, const Envelope& message, std::string_view line) {
  switch (up_notification_route(message.method())) {
    case UpRoute::first_initialized:
      seat.ready = seat.greeted;
      if (seat.greeted && serving()) {
        ensure_initialized();
      }
      return;
    case UpRoute::map_cancelled:
      return on_client_cancelled(seat, message, line);
    case UpRoute::forward_if_asked:
      if (serving() && questions_.wants_progress(seat.client->id(), jsonrpc::id_key(message.progress_token))) {
        (void)slot_.send(line);
      }
      return;
    case UpRoute::forward_notification:
      if (serving() && seat.ready) {
        (void)slot_.send(line);
        brake();
      }
      return;
    default:
      return;
  }
}

void SharedServer::on_client_cancelled(Seat& seat, const Envelope& message, std::string_view line) {
  const auto client = seat.client->id();
  const auto key = jsonrpc::id_key(message.request_id);
  const auto held = std::find_if(held_.begin(), held_.end(), [&](const Held& one) {
    return one.client == client && jsonrpc::id_key(one.id) == key;
  });
  if (held != held_.end()) {
    held_bytes_ -= held->line.size();
    held_.erase(held);
    return;
  }
  const auto number = in_flight_.find_of(client, key);
  const auto* request = number ? in_flight_.find(*number) : nullptr;
  if (request == nullptr || !is_cancellable(request->purpose)) {
    return;  // too late, or nothing that can be cancelled
  }
  const fmt::format_int fresh(*number);
  jsonrpc::Splice splice(line);
  splice.replace(message.request_id, {fresh.data(), fresh.size()});
  (void)slot_.send(splice.parts());
  in_flight_.cancel(*number, context().loop.now() + limits::cancelled_deadline);
  arm_deadline();
}

void SharedServer::cancel_at_server(std::uint64_t number) {
  const auto* request = in_flight_.find(number);
  if (request != nullptr && is_cancellable(request->purpose)) {
    (void)slot_.send(jsonrpc::notification(
        "notifications/cancelled", fmt::format(R"({{"requestId":{},"reason":"nobody waits for it"}})", number)));
  }
  in_flight_.cancel(number, context().loop.now() + limits::cancelled_deadline);
  arm_deadline();
}

/** The client's answer to a question of the server's. */
void SharedServer::up_response(Seat& seat, const Envelope& message, std::string_view line) {
  const auto question = questions_.take(seat.client->id(), message.id);
  if (!question) {
    log::debug({{names::field_server, name()}, {names::field_session, seat.client->session()}},
               "a response to nothing asked");
    return;
  }
  jsonrpc::Splice splice(line);
  splice.replace(message.id, question->server_id);
  (void)slot_.send(splice.parts());
}

void SharedServer::send_upkeep(std::string_view method, const std::string& params) {
  if (!serving()) {
    return;
  }
  Request request;
  request.deadline = context().loop.now() + limits::cancelled_deadline;
  const fmt::format_int number(in_flight_.add(std::move(request)));
  arm_deadline();
  (void)slot_.send(jsonrpc::request({number.data(), number.size()}, method, params));
}

}  // namespace hal::hub
