#pragma once

#include "base/result.hpp"
#include "worker/settings.hpp"
#include "worker/worker.hpp"

/** The folder a worker sees at /run/hal9000: its sockets and what it may know. */
namespace hal::worker {

/** Makes the folder and writes mcp.json: the names of the MCP servers the worker may use. */
[[nodiscard]] Result<void> make_run_folder(const Settings& settings, const Worker& worker);
void remove_run_folder(const Settings& settings, const WorkerId& id);

}  // namespace hal::worker
