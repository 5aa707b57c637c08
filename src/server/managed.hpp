#pragma once

#include "base/result.hpp"
#include "server/config.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/**
 * The files of mcp.d that the daemon writes itself when it is asked to over the bus: one a server, NAME.managed.json.
 * What an operator has written elsewhere is never changed.
 */
namespace hal::server {

[[nodiscard]] std::string managed_file(const std::string& directory, std::string_view name);

/** What adding a server would do. */
enum class Change { added, replaced, same, refused };
[[nodiscard]] std::string_view name(Change change);

struct PlannedServer {
  std::string name;
  Change change = Change::added;
  /** For people, without any value: what differs, or why it is refused. */
  std::string detail;
  /** Of a refusal. */
  Errc code = Errc::invalid_argument;
  /** Of the file to write. */
  std::string text;
};

/**
 * Compares servers in the format of .mcp.json with those that are defined. An error is one of the text as a whole;
 * a server that Reload would not take is Change::refused, and so is one that stands in an operator's file.
 */
[[nodiscard]] Result<std::vector<PlannedServer>> plan_servers(std::string_view servers, const ServerConfigs& defined,
                                                              const std::string& directory,
                                                              const ConfigOptions& options);

/** A file to write, or to remove. */
struct FileChange {
  std::string path;
  std::optional<std::string> text;
};

/**
 * Makes all changes or, but for a crash in between, none; each file is replaced in one step and on the disk afterwards.
 * Only root can read them: environments, headers and arguments hold secrets. Blocks.
 */
[[nodiscard]] Result<void> write_files(const std::string& directory, const std::vector<FileChange>& changes);

}  // namespace hal::server
