#pragma once

#include "guard/shell.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hal::guard {

/** Which accidents are guarded against. */
struct Guards {
  /** git commands that throw away what is nowhere else. */
  bool git = false;
  /** Recursive rm of a root, a home, a project or whatever is there. */
  bool rm = false;
  /** Files named .env and the like, which hold secrets. */
  bool env = false;
};

/** Sets the guard of that name, which is its member's; false for another name. */
[[nodiscard]] bool set_guard(Guards& guards, std::string_view name);

/** Why the script should not run; nothing if it may. Also of scripts within it, as of `sh -c`. Pure. */
[[nodiscard]] std::optional<std::string> objection_to_script(std::string_view script, const Guards& guards);
/** The same of one command whose words are known. */
[[nodiscard]] std::optional<std::string> objection_to(const Command& command, const Guards& guards, int depth = 0);
/** Whether the last part of the path is that of a file of secrets: .env, .env.NAME or .envrc, no example of one. */
[[nodiscard]] bool is_env_file(std::string_view path);
[[nodiscard]] std::string env_objection(std::string_view path);

// Of rules.cpp's parts, each in a file of its own; `words` begins with the program's name.
[[nodiscard]] std::optional<std::string> objection_to_git(const std::vector<std::string>& words);
[[nodiscard]] std::optional<std::string> objection_to_rm(const std::vector<std::string>& words);

}  // namespace hal::guard
