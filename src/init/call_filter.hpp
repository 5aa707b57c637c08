#pragma once

#include <linux/filter.h>

#include <vector>

namespace hal::init {

/**
 * The seccomp filter for all programs of a worker, as far as it goes beyond the engine's own, which stays in force:
 * what is not in call_table.hpp is for that one to judge. Processes of another architecture have no calls at all. Pure.
 */
[[nodiscard]] std::vector<sock_filter> call_filter();

}  // namespace hal::init
