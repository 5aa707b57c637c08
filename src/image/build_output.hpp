#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

/** What the scripts in docker/ print. Pure. */
namespace hal::image {

/** How far a script is. */
struct Step {
  /** From 0 to 1. */
  double fraction = 0;
  std::string message;
};

/**
 * The output of a script with --progress: lines "@PERCENT MESSAGE" tell how far it is, all others are kept, the last
 * ones of them, to tell why it failed.
 */
class BuildOutput {
 public:
  static constexpr std::size_t max_line_bytes = 4096;

  /** The last step that these bytes complete. */
  std::optional<Step> feed(std::string_view bytes);
  /** Printable, in one line; empty if there was nothing. */
  [[nodiscard]] std::string last_lines() const;

 private:
  [[nodiscard]] std::optional<Step> take(std::string_view line);

  std::string line_;
  std::string tail_;
};

/** The wanted generations by the images' names, as build.sh --print has them: "NAME GENERATION" lines. */
using Generations = std::map<std::string, std::string>;
[[nodiscard]] Result<Generations> read_generations(std::string_view text);

}  // namespace hal::image
