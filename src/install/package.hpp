#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

/** MCP servers from npm and PyPI, each with all it needs in a folder of its own, so that a start needs no network. */
namespace hal::install {

enum class Registry { npm, pypi };

/** A package of a registry; nothing else, such as a URL, a path or a repository, can be named. */
struct Package {
  Registry registry = Registry::npm;
  std::string name;
  /** For npm also a range or a tag; empty: the newest. */
  std::string version;

  /** "npm:NAME@VERSION", "pypi:NAME==VERSION". */
  [[nodiscard]] std::string text() const;
  /** As its package manager takes it. */
  [[nodiscard]] std::string requirement() const;
};

/** "npm:NAME[@VERSION]" or "pypi:NAME[==VERSION]". */
[[nodiscard]] Result<Package> parse_package(std::string_view text);

}  // namespace hal::install
