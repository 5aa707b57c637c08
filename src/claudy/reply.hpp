#pragma once

#include "base/unique_fd.hpp"
#include "claudy/bus.hpp"

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace hal::claudy {

/** The answer to a call. */
struct Reply {
  /** One element an output argument. Variants are what they hold, dictionaries are objects, fds are indexes. */
  nlohmann::json body;
  std::vector<UniqueFd> fds;
};

/** The body of any message, rewound first. */
[[nodiscard]] Result<Reply> read_message(sd_bus_message* message);

}  // namespace hal::claudy
