#include "daemon/stop_all.hpp"

#include <utility>
#include <vector>

#include <fmt/format.h>

namespace hal::daemon {

StopAll::StopAll(event::Loop& loop, worker::Registry& registry, std::chrono::milliseconds timeout,
                 bus::DaemonControl::Progress progress, Done<void> done)
    : progress_(std::move(progress)), done_(std::move(done)) {
  std::vector<WorkerId> ids;
  for (const auto* worker : registry.all()) {
    if (worker->state == worker::State::running || worker->state == worker::State::unhealthy) {
      ids.push_back(worker->id);
    }
  }
  total_ = ids.size();
  for (const auto& id : ids) {
    registry.stop(id, timeout, alive_.wrap([this](const Result<void>& result) { one_stopped(result); }));
  }
  if (ids.empty()) {
    event::post(loop, "stop all", alive_.wrap([this] { finish(); }));
  }
}

void StopAll::one_stopped(const Result<void>& result) {
  ++stopped_;
  if (!result) {
    ++failed_;
    last_failure_ = result.error().message;
  }
  if (stopped_ == total_) {
    return finish();
  }
  progress_(static_cast<double>(stopped_) / static_cast<double>(total_),
            fmt::format("{} of {} workers stopped", stopped_, total_));
}

void StopAll::finish() {
  const auto done = std::exchange(done_, nullptr);
  if (failed_ > 0) {
    done(Error{Errc::unavailable,
               fmt::format("{} of {} workers could not be stopped; the last: {}", failed_, total_, last_failure_)});
  } else {
    done({});
  }
}

}  // namespace hal::daemon
