#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hal::metrics {

/** What a scrape is made from. Properties have the names that claudy prints (claudy/client.hpp). */
struct Figures {
  /** Why the daemon does not answer; nothing of it counts then. */
  std::string trouble;
  std::shared_ptr<const nlohmann::json> manager;
  /** As claudy::snapshot() gives them. */
  std::shared_ptr<const nlohmann::json> objects;
  /** Of the systemd units of the system: name and bytes. */
  std::vector<std::pair<std::string, std::uint64_t>> unit_memory;
};

/** The scrape's text. Every family that docs/METRICS.md has, with samples where there is something to count. */
[[nodiscard]] std::string render(const Figures& figures);

}  // namespace hal::metrics
