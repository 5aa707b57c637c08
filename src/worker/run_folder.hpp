#pragma once

#include "base/result.hpp"
#include "worker/settings.hpp"
#include "worker/worker.hpp"

#include <string>
#include <vector>

/** The folder a worker sees at /run/hal9000: its sockets and what it may know. */
namespace hal::worker {

/**
 * Makes the folder with the worker's token, mcp.json: the names of the MCP servers it may use and of the `others` that
 * its owner has in other workers, and settings.json: what Claude Code is held to there (managed_settings.hpp). Files
 * that are there keep their inodes, for settings.json is mounted by itself.
 */
[[nodiscard]] Result<void> make_run_folder(const Settings& settings, const Worker& worker,
                                           const std::vector<std::string>& others);
/**
 * What the worker shows to be itself where it has no socket of its own: its id, a dot and a secret. Made where there is
 * none yet; the same for the worker's life, whatever becomes of the daemon. Never logged.
 */
[[nodiscard]] Result<std::string> worker_token(const Settings& settings, const WorkerId& id);
/** Of whom there are folders. */
[[nodiscard]] std::vector<WorkerId> run_folders(const Settings& settings);
void remove_run_folder(const Settings& settings, const WorkerId& id);

}  // namespace hal::worker
