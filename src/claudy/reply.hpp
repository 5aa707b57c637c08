#pragma once

#include "base/unique_fd.hpp"
#include "claudy/bus.hpp"

#include <memory>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hal::claudy {

/** The answer to a call. */
struct Reply {
  /** See body(); never null. */
  std::shared_ptr<nlohmann::json> values;
  std::vector<UniqueFd> fds;

  /** An array, one element an output argument. Variants are what they hold, dictionaries are objects, fds indexes. */
  [[nodiscard]] nlohmann::json& body() const noexcept { return *values; }
};

/** The body of any message, rewound first. */
[[nodiscard]] Result<Reply> read_message(sd_bus_message* message);

}  // namespace hal::claudy
