#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hal::claudy {

/** A command line that fetches a package at each start, as what `claudy server install` takes instead. */
struct PackageCommand {
  /** "npm:NAME@VERSION" or "pypi:NAME==VERSION". */
  std::string package;
  /** Which of its programs, where the command names one. */
  std::string bin;
  std::vector<std::string> args;
};

/** npx, uvx, uv tool run, pipx run, also behind `cmd /c`. Nothing for other commands and for options that change more.
 */
[[nodiscard]] std::optional<PackageCommand> package_command(std::vector<std::string> words);

/** Whether the command is one of those at all. */
[[nodiscard]] bool fetches_package(const std::vector<std::string>& words);

}  // namespace hal::claudy
