// From a process that speaks the modern revision to its clients.
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "hub/modern_lane.hpp"
#include "hub/modern_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

namespace hal::hub {

void ModernLane::on_server_message(const jsonrpc::Envelope& message, std::string_view line) {
  last_use_ = loop_.now();
  if (message.is_response()) {
    return on_response(message, line);
  }
  if (message.kind == jsonrpc::Kind::request) {
    // This revision has no requests of servers: who sends one would wait for ever.
    (void)slot_.send(jsonrpc::error_response(message.id, jsonrpc::method_not_found, "a server asks by its results"));
    return;
  }
  on_notification(message, line);
}

void ModernLane::on_response(const jsonrpc::Envelope& message, std::string_view line) {
  std::uint64_t number = 0;
  if (in_flight_.find(message.id, number) == nullptr) {
    log::debug({{names::field_server, server_.name()}}, "a response to nothing asked, or a late one: id {}",
               text::printable(message.id, 32));
    return;
  }
  const auto request = in_flight_.take(number);
  if (request.purpose == Purpose::initialize) {
    return on_probe_answer(message);
  }
  auto* client = server_.client(request.client);
  if (client == nullptr || request.cancelled) {
    return;
  }
  if (request.purpose == Purpose::listen && message.kind == jsonrpc::Kind::result) {
    // The end of a stream names it once more.
    const auto named =
        jsonrpc::result_response(request.id, with_meta(message.outcome, subscription_id_key, request.id));
    server_.pass_answer(*client, request.id, jsonrpc::scan(named), named);
  } else {
    server_.pass_answer(*client, request.id, message, line);
  }
  if (single_ && client->backlog() > limits::client_high_bytes) {
    slot_.hold(true);
  }
}

void ModernLane::on_notification(const jsonrpc::Envelope& message, std::string_view line) {
  if (!message.meta_subscription_id.empty()) {
    return on_stream_message(message, line);
  }
  const auto method = message.method();
  if (method == "notifications/progress") {
    return on_progress(message, line);
  }
  if (method == "notifications/cancelled") {
    return on_stream_end(message, line);
  }
  on_ownerless(message, line);
}

/** On a stream that a client listens to: its id is the one of the request that opened it. */
void ModernLane::on_stream_message(const jsonrpc::Envelope& message, std::string_view line) {
  std::uint64_t number = 0;
  const auto* request = in_flight_.find(message.meta_subscription_id, number);
  auto* client = request != nullptr ? server_.client(request->client) : nullptr;
  if (client == nullptr || request->cancelled || request->purpose != Purpose::listen) {
    return;
  }
  jsonrpc::Splice splice(line);
  splice.replace(message.meta_subscription_id, request->id);
  if (message.method() == "notifications/subscriptions/acknowledged") {
    return server_.ask(*client, splice.parts());  // the one of them that must arrive
  }
  server_.notify(*client, splice.parts());
}

void ModernLane::on_progress(const jsonrpc::Envelope& message, std::string_view line) {
  std::uint64_t number = 0;
  const auto* request = in_flight_.find(message.progress_token, number);
  auto* client = request != nullptr ? server_.client(request->client) : nullptr;
  if (client == nullptr || request->cancelled || request->progress_token.empty()) {
    return;
  }
  jsonrpc::Splice splice(line);
  splice.replace(message.progress_token, request->progress_token);
  server_.notify(*client, splice.parts());
}

void ModernLane::on_stream_end(const jsonrpc::Envelope& message, std::string_view line) {
  std::uint64_t number = 0;
  const auto* open = in_flight_.find(message.request_id, number);
  if (open == nullptr || open->purpose != Purpose::listen) {
    return;
  }
  const auto request = in_flight_.take(number);
  auto* client = server_.client(request.client);
  if (client == nullptr || request.cancelled) {
    return;
  }
  server_.give_up(*client, request.id, "ok");
  jsonrpc::Splice splice(line);
  splice.replace(message.request_id, request.id);
  server_.ask(*client, splice.parts());
}

void ModernLane::on_ownerless(const jsonrpc::Envelope& message, std::string_view line) {
  const bool is_log = message.method() == "notifications/message";
  Client* only = nullptr;
  std::size_t candidates = 0;
  for (const auto id : in_flight_.waiting_clients()) {
    const auto open = in_flight_.of(id);
    const bool wants =
        !is_log || std::any_of(open.begin(), open.end(), [this](auto number) { return in_flight_.find(number)->logs; });
    if (auto* client = server_.client(id); client != nullptr && wants) {
      only = client;
      ++candidates;
    }
  }
  if (candidates != 1) {
    log::debug({{names::field_server, server_.name()}}, "notification {} has no owner: dropped",
               text::printable(message.method(), 64));
    return;
  }
  const std::array parts{line};
  server_.notify(*only, parts);
}

void ModernLane::on_server_overlong(std::size_t bytes) {
  server_.count_error();
  const auto waiting = in_flight_.waiting_clients();
  const auto open = waiting.size() == 1 ? in_flight_.of(*waiting.begin()) : std::vector<std::uint64_t>{};
  if (open.size() != 1 || in_flight_.find(open.front())->purpose == Purpose::listen) {
    return;
  }
  const auto request = in_flight_.take(open.front());
  if (auto* client = server_.client(request.client); client != nullptr) {
    server_.fail(*client, request.id, jsonrpc::internal_error,
                 fmt::format("server {} answered with a line of {} bytes, more than {}", server_.name(), bytes,
                             limits::mcp_line_bytes));
  }
}

}  // namespace hal::hub
