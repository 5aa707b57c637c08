#include "worker/settings.hpp"

#include "base/names.hpp"
#include "base/text.hpp"
#include "policy/tools.hpp"

#include <algorithm>

#include <fmt/format.h>

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

Result<void> may_use_image(const Settings& settings, const std::string& profile, const std::string& image,
                           const std::map<std::string, std::string>& labels) {
  if (labels.contains(names::label_image)) {
    return {};
  }
  const auto found = settings.profiles.find(profile);
  if (found != settings.profiles.end() &&
      std::ranges::any_of(found->second.foreign_images,
                          [&image](const auto& pattern) { return policy::glob_matches(pattern, image); })) {
    return {};
  }
  return Error{Errc::denied,
               fmt::format("image {} has no label {}, so it is not one of ours, and foreign_images of profile {} does "
                           "not name it",
                           text::printable(image), names::label_image, profile)};
}

bool may_use(const std::vector<const policy::Grant*>& grants, std::string_view server) {
  return std::all_of(grants.begin(), grants.end(), [server](const auto* grant) { return grant->may_use(server); });
}

}  // namespace hal::worker
