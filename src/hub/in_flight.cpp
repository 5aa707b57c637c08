#include "hub/in_flight.hpp"

#include "base/text.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/envelope.hpp"

#include <utility>

namespace hal::hub {

std::uint64_t InFlight::add(Request request) {
  const auto number = next_++;
  if (!request.id.empty()) {
    by_client_[request.client][jsonrpc::id_key(request.id)] = number;
  }
  requests_.emplace(number, std::move(request));
  return number;
}

Request* InFlight::find(std::uint64_t number) {
  const auto found = requests_.find(number);
  return found != requests_.end() ? &found->second : nullptr;
}

Request* InFlight::find(std::string_view raw_number, std::uint64_t& number) {
  const auto parsed = text::to_number<std::uint64_t>(raw_number);
  if (!parsed) {
    return nullptr;
  }
  number = *parsed;
  return find(number);
}

std::optional<std::uint64_t> InFlight::find_of(ClientId client, const std::string& id_key) const {
  const auto keys = by_client_.find(client);
  if (keys == by_client_.end()) {
    return std::nullopt;
  }
  const auto number = keys->second.find(id_key);
  return number != keys->second.end() ? std::optional(number->second) : std::nullopt;
}

void InFlight::link_all() {
  by_client_.clear();
  for (const auto& [number, request] : requests_) {
    if (!request.cancelled && !request.id.empty()) {
      by_client_[request.client][jsonrpc::id_key(request.id)] = number;
    }
  }
}

void InFlight::unlink(const Request& request) {
  const auto keys = by_client_.find(request.client);
  if (request.cancelled || request.id.empty() || keys == by_client_.end()) {
    return;
  }
  keys->second.erase(jsonrpc::id_key(request.id));
  if (keys->second.empty()) {
    by_client_.erase(keys);
  }
}

Request InFlight::take(std::uint64_t number) {
  const auto found = requests_.find(number);
  unlink(found->second);
  Request request = std::move(found->second);
  requests_.erase(found);
  return request;
}

void InFlight::cancel(std::uint64_t number, Clock::time_point forget_at) {
  auto& request = requests_.at(number);
  unlink(request);
  request.cancelled = true;
  request.deadline = forget_at;
  if (request.makes_task) {
    cancelled_tasks_.push_back(number);
    if (cancelled_tasks_.size() > limits::cancelled_tasks) {
      requests_.erase(cancelled_tasks_.front());
      cancelled_tasks_.pop_front();
    }
  } else if (is_cancellable(request.purpose)) {
    requests_.erase(number);
  }
}

std::vector<Request> InFlight::take_all() {
  std::vector<Request> all;
  for (auto& [number, request] : requests_) {
    all.push_back(std::move(request));
  }
  requests_.clear();
  by_client_.clear();
  cancelled_tasks_.clear();
  return all;
}

std::vector<std::uint64_t> InFlight::of(ClientId client) const {
  std::vector<std::uint64_t> numbers;
  if (const auto keys = by_client_.find(client); keys != by_client_.end()) {
    for (const auto& [key, number] : keys->second) {
      numbers.push_back(number);
    }
  }
  return numbers;
}

std::size_t InFlight::count_of(ClientId client) const {
  const auto keys = by_client_.find(client);
  return keys != by_client_.end() ? keys->second.size() : 0;
}

std::set<ClientId> InFlight::waiting_clients() const {
  std::set<ClientId> clients;
  for (const auto& [client, keys] : by_client_) {
    clients.insert(client);
  }
  return clients;
}

std::vector<std::uint64_t> InFlight::overdue(Clock::time_point now, std::optional<Clock::time_point>& next) const {
  std::vector<std::uint64_t> numbers;
  next.reset();
  for (const auto& [number, request] : requests_) {
    if (!request.deadline) {
      continue;
    }
    if (*request.deadline <= now) {
      numbers.push_back(number);
    } else if (!next || *request.deadline < *next) {
      next = request.deadline;
    }
  }
  return numbers;
}

}  // namespace hal::hub
