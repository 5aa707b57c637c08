#pragma once

namespace hal::init {

/** Signals every process below this one. As PID 1 that is everything in the namespace but itself. */
void signal_all(int number);

/**
 * `hal9000-init --pause`: waits for SIGTERM or SIGINT, and reaps what is handed to it meanwhile. For a container that
 * only holds its namespaces. Returns the exit code.
 */
[[nodiscard]] int run_pause();

}  // namespace hal::init
