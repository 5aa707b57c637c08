#pragma once

#include <string>
#include <vector>

namespace hal::worker {

/**
 * The managed settings of Claude Code in a worker, which no settings of its user's override: telemetry and updating
 * itself are off, the hook of `hal9000-mcp guard` is on where there are `guards`, and the MCP servers of ours that the
 * worker may not use are denied. The owner's one ~/.claude.json has them all, for all of the owner's workers. Pure.
 */
[[nodiscard]] std::string managed_settings(const std::vector<std::string>& guards,
                                           const std::vector<std::string>& denied_servers);

}  // namespace hal::worker
