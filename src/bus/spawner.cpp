#include "bus/spawner.hpp"

#include "bus/worker_adaptor.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::bus {

namespace {

/** Of one user; each holds a container being made. */
constexpr std::size_t max_spawning_per_user = 16;

}  // namespace

/** Counts one spawn until it is destroyed; null if there are too many. */
std::shared_ptr<void> Spawner::begin(uid_t user) {
  auto& count = (*spawning_)[user];
  if (count >= max_spawning_per_user) {
    return nullptr;
  }
  ++count;
  return {spawning_.get(), [spawning = spawning_, user](void*) {
            if (--(*spawning)[user] == 0) {
              spawning->erase(user);
            }
          }};
}

void Spawner::spawn(const Reply<sdbus::ObjectPath>& reply, worker::SpawnRequest request, uid_t caller) {
  auto counted = begin(caller);
  if (!counted) {
    reply.fail(
        {Errc::limit, fmt::format("{} workers of yours are being made, which is the limit", max_spawning_per_user)});
    return;
  }
  request.owner = caller;
  registry_.spawn(std::move(request), [reply, counted = std::move(counted)](const Result<WorkerId>& id) {
    if (id) {
      reply.succeed(sdbus::ObjectPath{worker_path(*id)});
    } else {
      reply.fail(id.error());
    }
  });
}

}  // namespace hal::bus
