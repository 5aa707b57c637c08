#include "relay/in_flight.hpp"

#include "base/limits.hpp"
#include "jsonrpc/envelope.hpp"

#include <algorithm>

namespace hal::relay {

void InFlight::add(std::string_view id, std::string_view line) {
  if (ids_.size() >= limits::requests_in_flight) {
    ids_.pop_front();
  }
  ids_.push_back({std::string(id), jsonrpc::id_key(id), std::string(line)});
}

void InFlight::remove(std::string_view id) {
  const auto key = jsonrpc::id_key(id);
  const auto found = std::find_if(ids_.begin(), ids_.end(), [&](const Entry& entry) { return entry.key == key; });
  if (found != ids_.end()) {
    ids_.erase(found);
  }
}

bool InFlight::contains(std::string_view id) const {
  const auto key = jsonrpc::id_key(id);
  return std::any_of(ids_.begin(), ids_.end(), [&](const Entry& entry) { return entry.key == key; });
}

void InFlight::drain(std::string_view but, const std::function<void(std::string_view)>& on_id) {
  for (auto at = ids_.begin(); at != ids_.end();) {
    if ((!but.empty() && at->id == but) || !at->line.empty()) {
      ++at;
      continue;
    }
    const std::string id = std::move(at->id);
    at = ids_.erase(at);
    on_id(id);
  }
}

std::string InFlight::lines() const {
  std::string all;
  for (const auto& entry : ids_) {
    all += entry.line;
  }
  return all;
}

}  // namespace hal::relay
