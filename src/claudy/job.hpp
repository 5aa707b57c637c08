#pragma once

#include "base/result.hpp"
#include "claudy/bus.hpp"

#include <string>
#include <vector>

namespace hal::claudy {

/**
 * Calls a method that begins a job, and waits for the job's end. Shows how far it is where standard error
 * is a terminal. An interrupt cancels the job. A job that fails is an Error with its message.
 */
[[nodiscard]] Result<void> run_job(Bus& bus, const Method& method, const std::vector<Argument>& arguments);

}  // namespace hal::claudy
