#pragma once

namespace hal {

/**
 * Gives a pipe the most bytes a process without privileges may ask for (1 MiB), so that a large message passes in one
 * piece instead of sixteen with a change of process after each. Whoever fills or drains the pipe may do it, once it
 * turned out to be too small; small talk never needs it. What is no pipe stays as it is; false then.
 */
bool enlarge_pipe(int fd) noexcept;

}  // namespace hal
