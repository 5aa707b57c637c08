#pragma once

#include "base/result.hpp"

#include <string>

namespace hal::host {

/**
 * Brings the Claude settings of a user's home on the host into the home of their workers: settings.json (see
 * claude_settings.hpp), CLAUDE.md, agents, commands and skills of ~/.claude; nothing else of it is looked at.
 *
 * A copy is known by its time: whole seconds are the original's, and a fraction of copy_mark nanoseconds is what no
 * program leaves behind. It follows its original, also when that is removed. What has another time was written in a
 * worker and stays as it is.
 *
 * `host_home` and `worker_home` are open directories. Uses the caller's rights, follows no link on either side, reads
 * regular files only, and has limits. Returns what was left out, for a log; empty if nothing was. Blocks.
 */
[[nodiscard]] std::string inherit_settings(int host_home, int worker_home);

inline constexpr long copy_mark = 9000;

}  // namespace hal::host
