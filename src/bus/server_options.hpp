#pragma once

#include "base/result.hpp"
#include "bus/backend.hpp"
#include "bus/value.hpp"

#include <string>
#include <vector>

/** What callers ask for of the configuration's MCP servers, read as strictly as options.hpp does. */
namespace hal::bus {

[[nodiscard]] Result<AddOptions> read_add_options(Values values);
[[nodiscard]] Result<InstallRequest> read_install_options(std::string name, std::string package, Values values);

/** Names of images to be built, and how. */
[[nodiscard]] Result<BuildRequest> read_build_options(std::vector<std::string> names, Values values);

}  // namespace hal::bus
