#include "hub/resource_index.hpp"

#include "hub/hub_limits.hpp"

#include <algorithm>
#include <utility>

namespace hal::hub {

void ResourceIndex::put(std::string uri, const std::string& server) {
  if (uri.size() > limits::indexed_uri_bytes) {
    return;
  }
  if (const auto found = owners_.find(uri); found != owners_.end()) {
    found->second = std::min(found->second, server);
  } else if (owners_.size() < limits::indexed_resources) {
    owners_.emplace(std::move(uri), server);
  }
}

void ResourceIndex::add(std::string uri, const std::string& server) {
  put(std::move(uri), server);
}

void ResourceIndex::add_template(std::string text, const std::string& server) {
  auto beginning = text.substr(0, text.find('{'));
  if (!beginning.empty() && templates_.size() < limits::indexed_templates &&
      beginning.size() <= limits::indexed_uri_bytes) {
    templates_.push_back({std::move(beginning), server});
  }
  put(std::move(text), server);
}

void ResourceIndex::remove(const std::string& server) {
  std::erase_if(owners_, [&](const auto& entry) { return entry.second == server; });
  std::erase_if(templates_, [&](const auto& entry) { return entry.server == server; });
}

bool ResourceIndex::knows(std::string_view uri) const {
  return owners_.contains(std::string(uri));
}

std::vector<std::string> ResourceIndex::candidates(std::string_view uri,
                                                   const std::vector<std::string>& servers) const {
  if (const auto owner = owners_.find(std::string(uri)); owner != owners_.end()) {
    return {owner->second};
  }
  std::vector<std::pair<std::size_t, std::string>> ranked;
  ranked.reserve(servers.size());
  for (const auto& server : servers) {
    std::size_t longest = 0;
    for (const auto& entry : templates_) {
      if (entry.server == server && uri.starts_with(entry.beginning)) {
        longest = std::max(longest, entry.beginning.size());
      }
    }
    ranked.emplace_back(longest, server);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& one, const auto& other) { return one.first > other.first; });
  std::vector<std::string> order;
  for (auto& [longest, server] : ranked) {
    order.push_back(std::move(server));
  }
  return order;
}

}  // namespace hal::hub
