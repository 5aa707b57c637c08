#pragma once

#include "worker/live_pool.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

/** What the source files of LivePool share. */
namespace hal::worker {

/** Somebody waits until the pool has so many workers, or none. */
class LivePool::Job final : public Operation {
 public:
  Job(LivePool& pool, std::uint32_t wanted, Progress progress, Done<void> done)
      : wanted_(wanted), pool_(&pool), progress_(std::move(progress)), done_(std::move(done)) {
    pool_->jobs_.push_back(this);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  ~Job() override {
    if (pool_ != nullptr) {
      pool_->jobs_.remove(this);
    }
  }
  void pool_gone() noexcept { pool_ = nullptr; }

  [[nodiscard]] std::uint32_t wanted() const noexcept { return done_ ? wanted_ : 0; }

  void look(const Status& status) {
    if (!done_) {
      return;
    }
    const bool drains = wanted_ == 0;
    if (drains != status.drained) {
      finish(Error{Errc::cancelled, drains ? "the pool was filled again" : "the pool was drained"});
    } else if (drains ? status.warm + status.starting + pool_->retiring_ == 0 : status.warm >= wanted_) {
      finish({});
    } else if (status.degraded) {
      finish(Error{Errc::unavailable, status.reason});
    } else if (std::exchange(told_, status.warm) != status.warm) {
      const double part = static_cast<double>(status.warm) / std::max<double>(wanted_, status.warm);
      progress_(drains ? 0 : part, fmt::format("{} warm", status.warm));
    }
  }

 private:
  void finish(Result<void> result) { std::exchange(done_, nullptr)(std::move(result)); }

  std::uint32_t wanted_;
  std::uint32_t told_ = UINT32_MAX;
  LivePool* pool_;
  Progress progress_;
  Done<void> done_;
};

}  // namespace hal::worker
