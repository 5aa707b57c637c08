#pragma once

#include "base/result.hpp"
#include "worker/pool.hpp"

#include <string>

/** What the pool was told, kept in `state_dir/pool.json`. */
namespace hal::worker {

struct PoolState {
  /** What is set here goes before the configuration. */
  Pool::Change change;
  bool drained = false;
};

[[nodiscard]] Result<PoolState> pool_state_from_json(std::string_view text);
[[nodiscard]] std::string to_json(const PoolState& state);

/** An absent file is an empty state; one that cannot be read is logged and counts as absent. */
[[nodiscard]] PoolState load_pool_state(const std::string& path);
/** The old one stays whole if this fails. */
[[nodiscard]] Result<void> save_pool_state(const std::string& path, const PoolState& state);

}  // namespace hal::worker
