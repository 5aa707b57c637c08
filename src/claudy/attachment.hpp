#pragma once

#include "base/result.hpp"
#include "claudy/bus.hpp"
#include "claudy/detach_keys.hpp"

#include <string>

namespace hal::claudy {

/** Fails with what to do instead where standard input or output is no terminal. */
[[nodiscard]] Result<void> require_terminal();

/**
 * Joins our terminal to the worker's command until the user detaches (0), the command ends (its exit code, the end
 * being told on standard error), or the terminal closes for another reason.
 */
[[nodiscard]] Result<int> attach_terminal(Bus& bus, const std::string& path, const DetachKeys& keys);

/**
 * Joins our terminal to a program of the worker and gives the program's exit code. Nothing detaches: a program whose
 * terminal closes is hung up.
 */
[[nodiscard]] Result<int> exec_terminal(Bus& bus, const std::string& path, const std::vector<std::string>& command,
                                        Options options);

}  // namespace hal::claudy
