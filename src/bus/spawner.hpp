#pragma once

#include "bus/calls.hpp"
#include "bus/options.hpp"
#include "bus/reply.hpp"
#include "worker/registry.hpp"

#include <sys/types.h>

#include <cstddef>
#include <map>
#include <memory>

namespace hal::bus {

/** The way of every spawn and claim to the registry, with a bound on what one user has under way. */
class Spawner {
 public:
  explicit Spawner(worker::Registry& registry) : registry_(registry) {}

  /** Answers `reply` with the worker's object. The caller was authorised. */
  void spawn(const Reply<sdbus::ObjectPath>& reply, worker::SpawnRequest request, uid_t caller);

 private:
  /** Spawns under way, by user; shared with their completions, which may outlive this. */
  using Spawning = std::map<uid_t, std::size_t>;

  [[nodiscard]] std::shared_ptr<void> begin(uid_t user);

  worker::Registry& registry_;
  std::shared_ptr<Spawning> spawning_ = std::make_shared<Spawning>();
};

}  // namespace hal::bus
