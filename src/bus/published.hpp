#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace hal::bus {

/** Remembers what was last told of an object's properties, so that only what changed is told. */
class Published {
 public:
  /** Each property's D-Bus name and its value as text. */
  using Snapshot = std::vector<std::pair<const char*, std::string>>;

  /** The names of the properties that differ from the last call's; all of them in the first. */
  [[nodiscard]] std::vector<std::string> update(const Snapshot& now) {
    std::vector<std::string> changed;
    for (const auto& [name, value] : now) {
      const auto [entry, added] = last_.try_emplace(name, value);
      if (added || entry->second != value) {
        entry->second = value;
        changed.emplace_back(name);
      }
    }
    return changed;
  }

 private:
  std::map<std::string, std::string> last_;
};

}  // namespace hal::bus
