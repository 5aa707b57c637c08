#pragma once

#include "base/result.hpp"
#include "install/package.hpp"
#include "server/config.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hal::install {

/** What is the package managers' own business, beside what is installed; it goes when they are done. */
[[nodiscard]] std::string scratch_folder(const std::string& folder);
/** What pip says it has installed. */
[[nodiscard]] std::string pip_report(const std::string& folder);

/** One program to run. */
struct Step {
  /** What it does, for people. */
  std::string message;
  server::ServerConfig config;
};

/**
 * How a package gets into `folder`. `scripts`: programs that packages bring for their own installation may run; else
 * no code of a package runs, which for PyPI leaves out what comes as source only.
 */
[[nodiscard]] std::vector<Step> steps(const std::string& server, const Package& package, const std::string& folder,
                                      bool scripts);

/** Why a step failed, from what it printed at its end; `exit` is how it ended. */
[[nodiscard]] Error failure(const Package& package, std::string_view output, std::string_view exit);

}  // namespace hal::install
