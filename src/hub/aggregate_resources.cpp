// Resources at the aggregated endpoint: whose is this URI.
#include "hub/aggregate_server.hpp"
#include "hub/aggregate_session.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"

#include <array>
#include <utility>

namespace hal::hub {

/**
 * To the server that lists the URI. Where none is known the lists are read first; where none lists it, those are asked
 * one after the other that may have it, until one answers with a result.
 */
void AggregateSession::on_resource(const Envelope& message, std::string_view line, std::string uri) {
  if (uri.empty()) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, "the URI of a resource must be a string");
  }
  const auto subscribed = subscriptions_.find(uri);
  const bool is_subscribed = subscribed != subscriptions_.end() && is_server(subscribed->second);
  if (!indexed() && !is_subscribed && !resources_.knows(uri)) {
    return wait_for_index(message, line);
  }
  std::vector<std::string> able;
  for (const auto& [name, member] : members_) {
    const bool is_up = member->state() == AggregateMember::State::up;
    if (!is_up || member->hello().has.at(static_cast<std::size_t>(List::resources))) {
      able.push_back(name);
    }
  }
  const bool unsubscribes = message.method() == "resources/unsubscribe";
  auto order = is_subscribed && unsubscribes ? std::vector{subscribed->second} : resources_.candidates(uri, able);
  std::erase_if(order, [this](const std::string& name) { return !is_server(name); });
  if (order.empty()) {
    return server_.fail(client_, message.id, jsonrpc::resource_not_found, "no server has this resource");
  }
  auto& call = open_call(*find(order.front()), message, Answer::search);
  call.search = std::make_unique<Search>();
  call.search->method = message.method();
  call.search->uri = std::move(uri);
  if (order.size() > 1 && line.size() <= limits::search_bytes) {
    call.search->line = line;
    call.search->rest.assign(order.begin() + 1, order.end());
  }
  call.member->send(std::string(line));
}

void AggregateSession::wait_for_index(const Envelope& message, std::string_view line) {
  if (line.size() > limits::search_bytes) {
    return server_.fail(client_, message.id, jsonrpc::code_of(Errc::limit),
                        "the request is too long for a resource that no server has listed");
  }
  const auto key = jsonrpc::id_key(message.id);
  calls_[key].id = message.id;
  unindexed_.emplace_back(key, line);
  if (unindexed_.size() == 1) {
    start_list(List::resources, {}, everywhere());
    start_list(List::templates, {}, everywhere());
  }
}

void AggregateSession::replay_unindexed() {
  resources_read_ = templates_read_ = true;  // also where they have changed meanwhile: nobody waits twice
  for (const auto& [key, line] : std::exchange(unindexed_, {})) {
    const auto message = jsonrpc::scan(line);
    calls_.erase(key);
    on_request(message, line);
  }
}

/** Of the errors of all that were asked the first is told: its server was the likeliest. */
void AggregateSession::search_later(Call& call, const std::string& key, std::string error) {
  if (call.search->first_error.empty()) {
    call.search->first_error = std::move(error);
  }
  forget_token(call, false);
  call.member = nullptr;
  searching_.push_back(key);
  schedule();
}

/** Asks the next server that may have it; the member that was asked last has answered with an error. */
void AggregateSession::search_on(const std::string& key) {
  const auto found = calls_.find(key);
  if (found == calls_.end() || found->second.search == nullptr) {
    return;  // cancelled meanwhile
  }
  auto& call = found->second;
  while (!call.search->rest.empty()) {
    auto* member = find(call.search->rest.front());
    call.search->rest.pop_front();
    if (member != nullptr) {
      call.member = member;
      if (!call.token.empty()) {
        tokens_[call.token] = {member, false};
      }
      return member->send(call.search->line);
    }
  }
  const auto error = std::exchange(call.search->first_error, {});
  const auto message = jsonrpc::scan(error);
  const std::array parts{std::string_view(error)};
  pass(key, message.id, parts, false);
}

void AggregateSession::on_found(const Call& call) {
  const auto& search = *call.search;
  if (search.method == "resources/read") {
    if (!resources_.knows(search.uri)) {
      resources_.add(search.uri, call.member->name());
    }
  } else if (search.method == "resources/unsubscribe") {
    subscriptions_.erase(search.uri);
  } else if (search.method == "resources/subscribe" && subscriptions_.size() < limits::subscriptions_per_session) {
    subscriptions_[search.uri] = call.member->name();
  }
}

}  // namespace hal::hub
