#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <vector>

/** `hal9000-mcp configure`: tells Claude Code in a worker about the MCP servers the worker may use. */
namespace hal::relay {

struct ConfigureOptions {
  std::string config;  ///< {"servers":["NAME", …],"others":["NAME", …]}, written by hal9000d.
  std::string home;    ///< The folder of .claude.json.
};

/** Names of MCP servers. */
struct Offer {
  /** Those this worker may use. */
  std::vector<std::string> servers;
  /** Those that other workers of the home may use; the worker's managed settings deny them here. */
  std::vector<std::string> others;
};

/** What the text of ConfigureOptions::config offers. */
[[nodiscard]] Result<Offer> read_offer(std::string_view config);

/**
 * The text of .claude.json with the offered servers as user-scope MCP servers, without those of ours that are no longer
 * offered to any worker of the home, and with the questions answered that Claude Code would ask a person at its first
 * start in /workspace. All else keeps its value. `existing` may be empty. Errors: protocol for what is no JSON or has
 * not the form Claude Code gives it, limit for what is too deep or too large. Pure.
 */
[[nodiscard]] Result<std::string> merge(std::string_view existing, const Offer& offer);

/** Does it to the file: under a lock, atomically, and only if something changes. */
[[nodiscard]] Result<void> configure(const ConfigureOptions& options);

}  // namespace hal::relay
