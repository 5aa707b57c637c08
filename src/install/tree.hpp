#pragma once

#include "base/result.hpp"

#include <set>
#include <string>

/** Folders others have written to, handled without following any link. All block: for a forked child. */
namespace hal::install {

/** Everything below and itself becomes ours, readable by all and writable by nobody else; no set-id bits stay. */
[[nodiscard]] Result<void> seal_tree(const std::string& path);

/** No error if it is not there. */
[[nodiscard]] Result<void> remove_tree(const std::string& path);

/** Removes each folder NAME/GENERATION of `root` that is not in `keep`, and each NAME that is empty then. */
[[nodiscard]] Result<void> sweep_generations(const std::string& root, const std::set<std::string>& keep);

}  // namespace hal::install
