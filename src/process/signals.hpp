#pragma once

namespace hal::process {

/** In a forked child: every signal back to its default action and none blocked. Async-signal-safe. */
void reset_signals() noexcept;

}  // namespace hal::process
