#pragma once

#include "base/result.hpp"
#include "install/package.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hal::install {

/** What was installed. */
struct Installed {
  /** The folder of this generation. */
  std::string folder;
  /** What starts the server: an absolute path. */
  std::string program;
  /** With the version that was found. */
  Package package;
};

/**
 * Finds the package's program in a folder that package managers have filled: the one it has, or `bin` of several;
 * Errc::invalid_argument lists them. Writes lock.json beside it: version and integrity of the package and of all it
 * needs. Blocks; what it reads comes from others, so call it with no more rights than they had.
 */
[[nodiscard]] Result<Installed> inspect(const Package& package, const std::string& folder, const std::string& bin);

/** The names of [console_scripts] in an entry_points.txt. */
[[nodiscard]] std::vector<std::string> console_scripts(std::string_view entry_points);

}  // namespace hal::install
