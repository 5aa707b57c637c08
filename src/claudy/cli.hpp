#pragma once

#include "base/result.hpp"
#include "claudy/options.hpp"

#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace hal::claudy {

/** What the command line asks for. */
struct Command {
  Global global;
  std::function<Result<int>(const Global&)> run;
};

/** A text to print instead: help or the version. */
struct Information {
  std::string text;
};

/** Reads a command line without the program's name. Touches nothing outside. Errors: invalid_argument. */
[[nodiscard]] Result<std::variant<Command, Information>> parse_command_line(std::vector<std::string> arguments);

}  // namespace hal::claudy
