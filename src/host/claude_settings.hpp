#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

namespace hal::host {

/**
 * A user's settings.json for use in a worker: without what names programs of the host (hooks, status line, helpers that
 * fetch credentials), without Claude Code's own sandbox, which cannot be within another one, and without members of
 * "env" whose names or values are those of secrets, or that say where programs are. Errors: protocol for what is no
 * JSON object, limit. Pure.
 */
[[nodiscard]] Result<std::string> settings_for_worker(std::string_view text);

}  // namespace hal::host
