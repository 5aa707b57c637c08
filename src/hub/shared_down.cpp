// Server to clients, in shared mode.
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/hub_limits.hpp"
#include "hub/routes.hpp"
#include "hub/shared_server.hpp"
#include "json/json.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::hub {

namespace {

/** A string member of params, for the few messages that are routed by one; empty where there is none. */
std::string param(const jsonrpc::Envelope& message, std::string_view key) {
  const auto params = json::parse(message.params);
  if (!params) {
    return {};
  }
  return json::string_at(*params, key).value_or({});
}

}  // namespace

void SharedServer::on_server_message(const Envelope& message, std::string_view line) {
  used();
  if (message.is_response()) {
    down_response(message, line);
  } else if (message.kind == jsonrpc::Kind::request) {
    down_request(message, line);
  } else {
    down_notification(message, line);
  }
}

void SharedServer::down_response(const Envelope& message, std::string_view line) {
  std::uint64_t number = 0;
  if (in_flight_.find(message.id, number) == nullptr) {
    log::debug({{names::field_server, name()}}, "a response to nothing asked, or a late one: id {}",
               text::printable(message.id, 32));
    return;
  }
  const auto request = in_flight_.take(number);
  if (request.purpose == Purpose::initialize) {
    return finish_handshake(message);
  }
  follow_tasks(number, request, message);
  if (auto* seat = seat_of(request.client); seat != nullptr && !request.cancelled) {
    if (message.kind == jsonrpc::Kind::result && request.purpose == Purpose::list_tasks) {
      return deliver_task_list(*seat, request, message);
    }
    pass_answer(*seat->client, request.id, message, line);
  }
  settle_subscription(request, message.kind == jsonrpc::Kind::result);
}

/** Counts the outcome, if the request was one about a resource, and lets those go on that waited for it. */
void SharedServer::settle_subscription(const Request& request, bool success) {
  if (request.purpose != Purpose::subscribe && request.purpose != Purpose::unsubscribe) {
    return;
  }
  auto waiting = subscriptions_.settle(request.uri, request.client, request.purpose == Purpose::subscribe, success);
  if (seat_of(request.client) == nullptr) {  // it left meanwhile
    for (const auto& uri : subscriptions_.remove(request.client)) {
      send_upkeep("resources/unsubscribe", fmt::format(R"({{"uri":{}}})", jsonrpc::quote(uri)));
    }
  }
  for (const auto& one : waiting) {
    if (auto* seat = seat_of(one.client); seat != nullptr) {
      do_from_client(*seat->client, jsonrpc::scan(one.line), one.line);
    }
  }
}

void SharedServer::down_request(const Envelope& message, std::string_view line) {
  switch (down_request_route(message.method())) {
    case DownRoute::answer_ping:
      (void)slot_.send(jsonrpc::result_response(message.id, "{}"));
      return;
    default:
      return ask_client(message, line);
  }
}

SharedServer::Seat* SharedServer::receiver_of(const Envelope& message) {
  if (message.meta_related_task.empty()) {
    return only_candidate();
  }
  const auto* task = tasks_.find(read_related_task(message.meta_related_task));
  return task != nullptr ? seat_of(task->owner) : nullptr;
}

SharedServer::Seat* SharedServer::only_candidate() {
  Seat* candidate = nullptr;
  std::size_t candidates = 0;
  for (const auto client : in_flight_.waiting_clients()) {
    if (auto* seat = seat_of(client); seat != nullptr) {
      candidate = seat;
      ++candidates;
    }
  }
  if (candidates == 0) {
    for (auto& [id, seat] : seats_) {
      if (seat.ready) {
        candidate = &seat;
        ++candidates;
      }
    }
  }
  return candidates == 1 ? candidate : nullptr;
}

/**
 * A question carries no owner. It belongs to a call, so if just one client has calls open it is that client's; a guess
 * among several could show one client's question to another.
 */
void SharedServer::ask_client(const Envelope& message, std::string_view line) {
  auto* seat = receiver_of(message);
  if (seat == nullptr) {
    return refuse_question(message, "cannot be matched to one of several clients; run this server in mode \"session\"");
  }
  const auto method = message.method();
  if (!seat->hello || !may_be_asked(*seat->hello, method, message.params)) {
    return refuse_question(message, "is not a capability of the client");
  }
  const auto client = seat->client->id();
  const auto number = questions_.add({client, std::string(message.id), jsonrpc::id_key(message.meta_progress_token)});
  if (!number) {
    return refuse_question(message, "waits for too many answers already");
  }
  if (method == "elicitation/create") {
    if (auto id = param(message, "elicitationId"); !id.empty()) {
      elicitations_.emplace_back(std::move(id), client);
      if (elicitations_.size() > limits::questions_open) {
        elicitations_.pop_front();
      }
    }
  }
  const fmt::format_int fresh(*number);
  jsonrpc::Splice splice(line);
  splice.replace(message.id, {fresh.data(), fresh.size()});
  ask(*seat->client, splice.parts());
}

void SharedServer::refuse_question(const Envelope& message, std::string_view why) {
  (void)slot_.send(
      jsonrpc::error_response(message.id, jsonrpc::method_not_found, fmt::format("{} {}", message.method(), why)));
}

/** The process is gone: its questions need no answer. */
void SharedServer::withdraw_questions() {
  for (const auto& [number, question] : questions_.take_all()) {
    if (auto* seat = seat_of(question.client); seat != nullptr) {
      const auto line = jsonrpc::notification("notifications/cancelled", fmt::format(R"({{"requestId":{}}})", number));
      const std::array parts{std::string_view(line)};
      notify(*seat->client, parts);
    }
  }
  elicitations_.clear();
}

void SharedServer::down_notification(const Envelope& message, std::string_view line) {
  const std::array parts{line};
  switch (down_notification_route(message.method())) {
    case DownRoute::map_progress:
      return on_progress(message, line);
    case DownRoute::map_cancelled:
      return on_server_cancelled(message, line);
    case DownRoute::to_subscribers:
      for (const auto client : subscriptions_.subscribers(jsonrpc::unescape(message.uri))) {
        if (auto* seat = seat_of(client); seat != nullptr) {
          notify(*seat->client, parts);
        }
      }
      return;
    case DownRoute::log_message:
      return on_log_message(message, line);
    case DownRoute::broadcast:
      for (const auto& [id, seat] : seats_) {
        if (seat.ready) {
          notify(*seat.client, parts);
        }
      }
      return;
    case DownRoute::to_asked:
      return on_elicitation_complete(message, line);
    case DownRoute::to_task_owner:
      return on_task_status(message, line);
    default:
      if (auto* seat = receiver_of(message); seat != nullptr) {
        return notify(*seat->client, parts);
      }
      log::debug({{names::field_server, name()}}, "notification {} has no owner: dropped",
                 text::printable(message.method(), 64));
  }
}

void SharedServer::on_progress(const Envelope& message, std::string_view line) {
  std::uint64_t number = 0;
  const auto* request = in_flight_.find(message.progress_token, number);
  const auto* task = request == nullptr ? tasks_.find_number(number) : nullptr;
  const bool wanted = request != nullptr ? !request->cancelled : task != nullptr;
  const auto* token = request != nullptr ? &request->progress_token : task != nullptr ? &task->progress_token : nullptr;
  if (!wanted || token->empty()) {
    return;
  }
  if (auto* seat = seat_of(request != nullptr ? request->client : task->owner); seat != nullptr) {
    jsonrpc::Splice splice(line);
    splice.replace(message.progress_token, *token);
    notify(*seat->client, splice.parts());
  }
}

/** The server withdraws a question. */
void SharedServer::on_server_cancelled(const Envelope& message, std::string_view line) {
  const auto question = questions_.take_by_server_id(jsonrpc::id_key(message.request_id));
  auto* seat = question ? seat_of(question->second.client) : nullptr;
  if (seat != nullptr) {
    const fmt::format_int fresh(question->first);
    jsonrpc::Splice splice(line);
    splice.replace(message.request_id, {fresh.data(), fresh.size()});
    notify(*seat->client, splice.parts());
  }
}

void SharedServer::on_log_message(const Envelope& message, std::string_view line) {
  auto* seat = receiver_of(message);
  if (seat == nullptr) {
    log::debug({{names::field_server, name()}}, "a log message of no single client's: dropped");
    return;
  }
  const auto level = log_level_rank(param(message, "level"));
  if (!seat->log_level || !level || *level >= *seat->log_level) {
    const std::array parts{line};
    notify(*seat->client, parts);
  }
}

void SharedServer::on_elicitation_complete(const Envelope& message, std::string_view line) {
  const auto id = param(message, "elicitationId");
  const auto found = std::find_if(elicitations_.begin(), elicitations_.end(),
                                  [&id](const auto& elicitation) { return elicitation.first == id; });
  if (found == elicitations_.end()) {
    return;
  }
  auto* seat = seat_of(found->second);
  elicitations_.erase(found);
  if (seat != nullptr) {
    const std::array parts{line};
    notify(*seat->client, parts);
  }
}

/** With one request open the lost line must have been its answer, or it would wait for ever. */
void SharedServer::on_server_overlong(std::size_t bytes) {
  count_error();
  const auto waiting = in_flight_.waiting_clients();
  const auto open = waiting.size() == 1 ? in_flight_.of(*waiting.begin()) : std::vector<std::uint64_t>{};
  if (open.size() != 1) {
    return;
  }
  const auto request = in_flight_.take(open.front());
  if (auto* seat = seat_of(request.client); seat != nullptr) {
    fail(
        *seat->client, request.id, jsonrpc::internal_error,
        fmt::format("server {} answered with a line of {} bytes, more than {}", name(), bytes, limits::mcp_line_bytes));
  }
  settle_subscription(request, false);
}

}  // namespace hal::hub
