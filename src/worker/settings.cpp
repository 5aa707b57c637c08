#include "worker/settings.hpp"

#include <algorithm>

namespace hal::worker {

std::vector<const policy::Grant*> grants_of(const Settings& settings, const Worker& worker) {
  std::vector<const policy::Grant*> grants;
  if (const auto profile = settings.profiles.find(worker.profile); profile != settings.profiles.end()) {
    grants.push_back(&profile->second.grant);
  }
  const auto owner = settings.owners.find(worker.owner);
  grants.push_back(owner != settings.owners.end() ? &owner->second : &settings.other_owners);
  return grants;
}

bool may_use(const std::vector<const policy::Grant*>& grants, std::string_view server) {
  return std::all_of(grants.begin(), grants.end(), [server](const auto* grant) { return grant->may_use(server); });
}

}  // namespace hal::worker
