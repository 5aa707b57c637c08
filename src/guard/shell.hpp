#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hal::guard {

/** One simple command of a shell script: its words without quotes, nothing expanded. */
struct Command {
  std::vector<std::string> words;
  /** Files that it is redirected to or from. */
  std::vector<std::string> redirections;
};

/** No longer script can be an argument of `sh -c`. */
inline constexpr std::size_t max_script_bytes = std::size_t{128} << 10;
/** Of substitutions within substitutions. */
inline constexpr int max_script_depth = 32;

/**
 * The simple commands of a script for bash, in no particular order: those of lists, pipes, groups, conditions, loops
 * and functions, and of command and process substitutions, also within double quotes. Assignments and reserved words
 * before a command are left out, here-documents are skipped. What the shell would refuse is read as far as it goes.
 * Errc::limit for what is longer or deeper than the limits. Pure.
 */
[[nodiscard]] Result<std::vector<Command>> commands_of(std::string_view script);

}  // namespace hal::guard
