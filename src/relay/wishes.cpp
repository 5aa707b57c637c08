#include "relay/wishes.hpp"

#include "base/limits.hpp"
#include "jsonrpc/envelope.hpp"

#include <utility>

namespace hal::relay {

void Wishes::sent(const Line& request, std::string_view text) {
  const bool subscribe = request.method == "resources/subscribe";
  if (request.method == "resources/unsubscribe") {
    subscriptions_.erase(jsonrpc::id_key(request.uri));
    return;
  }
  if ((!subscribe && request.method != "logging/setLevel") || text.size() > max_wish_bytes ||
      (subscribe && request.uri.empty()) || asked_.size() >= limits::requests_in_flight) {
    return;
  }
  auto id = jsonrpc::id_key(request.id);
  Wish wish{id, std::string(text), subscribe ? jsonrpc::id_key(request.uri) : std::string()};
  asked_.insert_or_assign(std::move(id), std::move(wish));
}

void Wishes::answered(const Line& response) {
  if (asked_.empty()) {
    return;
  }
  const auto found = asked_.find(jsonrpc::id_key(response.id));
  if (found == asked_.end()) {
    return;
  }
  auto wish = std::move(found->second);
  asked_.erase(found);
  if (response.has_error) {
    return;
  }
  if (wish.uri_key.empty()) {
    log_level_ = std::move(wish);
  } else if (subscriptions_.size() < max_subscriptions || subscriptions_.contains(wish.uri_key)) {
    auto key = wish.uri_key;
    subscriptions_.insert_or_assign(std::move(key), std::move(wish));
  }
}

std::string Wishes::lines() const {
  std::string all = log_level_.line;
  for (const auto& [uri, wish] : subscriptions_) {
    all += wish.line;
  }
  return all;
}

std::map<std::string, int> Wishes::ids() const {
  std::map<std::string, int> all;
  if (!log_level_.line.empty()) {
    ++all[log_level_.id_key];
  }
  for (const auto& [uri, wish] : subscriptions_) {
    ++all[wish.id_key];
  }
  return all;
}

}  // namespace hal::relay
