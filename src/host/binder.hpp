#pragma once

#include "event/loop.hpp"
#include "host/mounts.hpp"
#include "host/tasks.hpp"
#include "worker/binder.hpp"

#include <sys/types.h>

#include <chrono>
#include <vector>

namespace hal::host {

/**
 * Late binding by the kernel's mount interface, every step in a forked child: what blocks there blocks nobody else,
 * and the daemon itself never takes a user's rights or another mount namespace. A user's id mapping is made once and
 * kept. Needs CAP_SYS_ADMIN and CAP_SETUID.
 */
class MountBinder : public worker::Binder {
 public:
  explicit MountBinder(event::Loop& loop);

  void open(std::vector<OpenRequest> requests, Done<std::vector<worker::DetachedMount>> done) override;
  void place(pid_t container_pid, std::vector<Placement> placements, Done<void> done) override;

 private:
  IdMaps id_maps_;
  Tasks tasks_;
};

}  // namespace hal::host
