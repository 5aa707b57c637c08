#pragma once

#include "base/result.hpp"
#include "claudy/package_command.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/** MCP servers as Claude's own programs have them configured, made into what hal9000d takes. */
namespace hal::claudy {

enum class ImportFormat {
  /** claude_desktop_config.json */
  claude_desktop,
  /** ~/.claude.json: the user's servers, and those of the current project, which go first. */
  claude_code,
  /** .mcp.json */
  mcp_json,
};

/** Whose configuration it is. */
struct ImportContext {
  /** ${NAME} in the files; nothing where it is not set. */
  std::function<std::optional<std::string>(const std::string& name)> variable;
  std::string home;
  /** The directory whose servers of Claude Code are meant. */
  std::string project;
};

struct ImportedServer {
  std::string name;
  /** The server's object for AddServers, as JSON text; empty where it is skipped. */
  std::string entry;
  /** Command and arguments, or the address, as the file has them: no value of a variable is shown to anybody. */
  std::vector<std::string> words;
  /** Why it cannot be carried over; empty if it can. */
  std::string skipped;
  /** What its owner should know. */
  std::vector<std::string> notes;
  /** Its command fetches a package: to be installed instead of added. */
  std::optional<PackageCommand> package;
  /** Of an entry with a package. */
  std::map<std::string, std::string> env;
};

inline constexpr std::size_t max_import_bytes = std::size_t{64} << 20;
inline constexpr std::size_t max_import_servers = 256;

/** In name order. An error is one of the file as a whole; what is wrong with one server stands with it. */
[[nodiscard]] Result<std::vector<ImportedServer>> read_import(std::string_view text, ImportFormat format,
                                                              const ImportContext& context);

}  // namespace hal::claudy
