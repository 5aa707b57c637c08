#pragma once

#include "base/alive.hpp"
#include "bus/backend.hpp"
#include "event/sources.hpp"
#include "worker/registry.hpp"

#include <chrono>
#include <cstddef>
#include <string>

namespace hal::daemon {

/** Stops every live worker, all at once, and tells how far that is. Destruction gives up on what is not done. */
class StopAll final : public worker::Operation {
 public:
  StopAll(event::Loop& loop, worker::Registry& registry, std::chrono::milliseconds timeout,
          bus::DaemonControl::Progress progress, Done<void> done);

 private:
  void one_stopped(const Result<void>& result);
  void finish();

  bus::DaemonControl::Progress progress_;
  Done<void> done_;
  std::size_t total_ = 0;
  std::size_t stopped_ = 0;
  std::size_t failed_ = 0;
  std::string last_failure_;
  Alive alive_;
};

}  // namespace hal::daemon
