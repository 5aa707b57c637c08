#pragma once

#include <string>
#include <vector>

namespace hal::init {

/** tmux' commands that make of one environment (NAME=VALUE) another one, whatever is in the values. Pure. */
[[nodiscard]] std::string environment_commands(const std::vector<std::string>& from,
                                               const std::vector<std::string>& to);

}  // namespace hal::init
