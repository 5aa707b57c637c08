#include "hub/subscriptions.hpp"

#include "hub/hub_limits.hpp"

#include <algorithm>
#include <utility>

namespace hal::hub {

namespace {

bool is_same_or_parent(std::string_view parent, std::string_view uri) {
  return uri.starts_with(parent) && (uri.size() == parent.size() || parent.ends_with('/') || uri[parent.size()] == '/');
}

}  // namespace

Subscriptions::Decision Subscriptions::subscribe(ClientId client, const std::string& uri) {
  auto& resource = resources_[uri];
  if (resource.busy) {
    return Decision::wait;
  }
  if (!resource.clients.empty()) {
    resource.clients.insert(client);
    return Decision::done;
  }
  resource.busy = true;
  return Decision::ask;
}

Subscriptions::Decision Subscriptions::unsubscribe(ClientId client, const std::string& uri) {
  const auto found = resources_.find(uri);
  if (found == resources_.end()) {
    return Decision::done;
  }
  auto& resource = found->second;
  if (resource.busy) {
    return Decision::wait;
  }
  if (!resource.clients.contains(client)) {
    return Decision::done;
  }
  if (resource.clients.size() > 1) {
    resource.clients.erase(client);
    return Decision::done;
  }
  resource.busy = true;
  return Decision::ask;
}

bool Subscriptions::wait(const std::string& uri, Waiting waiting) {
  auto& queue = resources_[uri].waiting;
  if (queue.size() >= limits::requests_in_flight) {
    return false;
  }
  queue.push_back(std::move(waiting));
  return true;
}

std::deque<Subscriptions::Waiting> Subscriptions::settle(const std::string& uri, ClientId client, bool subscribed,
                                                         bool success) {
  const auto found = resources_.find(uri);
  if (found == resources_.end()) {
    return {};
  }
  auto& resource = found->second;
  resource.busy = false;
  if (subscribed && success) {
    resource.clients.insert(client);
  } else if (!subscribed) {
    resource.clients.erase(client);  // even where the server refuses: the client does not want it any more
  }
  auto waiting = std::exchange(resource.waiting, {});
  if (resource.clients.empty()) {
    resources_.erase(found);
  }
  return waiting;
}

std::vector<std::string> Subscriptions::remove(ClientId client) {
  std::vector<std::string> unwanted;
  for (auto at = resources_.begin(); at != resources_.end();) {
    auto& resource = at->second;
    std::erase_if(resource.waiting, [client](const Waiting& waiting) { return waiting.client == client; });
    const bool was_last = resource.clients.erase(client) > 0 && resource.clients.empty();
    if (was_last && !resource.busy) {
      unwanted.push_back(at->first);
    }
    at = resource.clients.empty() && !resource.busy ? resources_.erase(at) : std::next(at);
  }
  return unwanted;
}

std::size_t Subscriptions::count_of(ClientId client) const {
  return static_cast<std::size_t>(std::count_if(resources_.begin(), resources_.end(), [client](const auto& entry) {
    return entry.second.clients.contains(client);
  }));
}

std::set<ClientId> Subscriptions::subscribers(std::string_view uri) const {
  std::set<ClientId> clients;
  for (const auto& [subscribed, resource] : resources_) {
    if (is_same_or_parent(subscribed, uri)) {
      clients.insert(resource.clients.begin(), resource.clients.end());
    }
  }
  return clients;
}

std::vector<std::string> Subscriptions::uris() const {
  std::vector<std::string> all;
  for (const auto& [uri, resource] : resources_) {
    if (!resource.clients.empty()) {
      all.push_back(uri);
    }
  }
  return all;
}

}  // namespace hal::hub
