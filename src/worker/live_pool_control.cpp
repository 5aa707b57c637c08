// The part of LivePool that does what it is asked to.

#include "base/limits.hpp"
#include "worker/live_pool_job.hpp"

#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace hal::worker {

namespace {

constexpr auto longest_idle_timeout = std::chrono::hours(24 * 365);

}  // namespace

Result<void> LivePool::keep(PoolState state) {
  if (auto saved = save_pool_state(state_file(), state); !saved) {
    return saved;
  }
  state_ = std::move(state);
  look();
  return {};
}

Result<void> LivePool::configure(const Change& change) {
  const auto now = bounds();
  const auto min = change.min.value_or(now.min);
  const auto max = change.max.value_or(now.max);
  if (min > max) {
    return Error{Errc::invalid_argument, fmt::format("min {} must not be more than max {}", min, max)};
  }
  if (max > limits::warm_workers) {
    return Error{Errc::limit, fmt::format("max must be at most {}", limits::warm_workers)};
  }
  if (change.idle_timeout && *change.idle_timeout > longest_idle_timeout) {
    return Error{Errc::invalid_argument, "idle_timeout_usec must be at most a year"};
  }
  PoolState state = state_;
  if (change.min || change.max) {
    state.change.min = min;
    state.change.max = max;
    state.drained = false;
  }
  if (change.idle_timeout) {
    state.change.idle_timeout = change.idle_timeout;
  }
  return keep(std::move(state));
}

OperationHandle LivePool::warm(std::uint32_t count, Progress progress, Done<void> done) {
  PoolState state = state_;
  state.drained = false;
  Result<void> possible;
  if (count == 0) {
    possible = Error{Errc::invalid_argument, "the number of workers must be at least 1"};
  } else if (count > bounds().max) {
    possible = Error{Errc::invalid_argument, fmt::format("{} are more than the pool's max {}", count, bounds().max)};
  } else if (const auto missing = parts_.missing(); !missing.empty()) {
    possible = Error{Errc::unavailable, missing};
  } else {
    possible = keep(std::move(state));
  }
  if (!possible) {
    event::post(parts_.loop, "pool (warm)", [possible, done = std::move(done)] { done(possible); });
    return nullptr;
  }
  return std::make_unique<Job>(*this, count, std::move(progress), std::move(done));
}

OperationHandle LivePool::drain(Progress progress, Done<void> done) {
  PoolState state = state_;
  state.drained = true;
  if (const auto kept = keep(std::move(state)); !kept) {
    event::post(parts_.loop, "pool (drain)", [kept, done = std::move(done)] { done(kept); });
    return nullptr;
  }
  return std::make_unique<Job>(*this, 0, std::move(progress), std::move(done));
}

void LivePool::cleanup(Done<std::uint32_t> done) {
  const auto now = situation();
  const auto decision = pool_policy(now);
  std::vector<WorkerId> surplus;
  std::size_t kept = 0;
  for (auto one = now.stock.rbegin(); one != now.stock.rend(); ++one) {  // the youngest are kept
    if (one->defect.empty() && one->generation == now.generation && kept < decision.target) {
      ++kept;
    } else {
      surplus.push_back(one->id);
    }
  }
  const auto left = std::make_shared<std::size_t>(surplus.size() + 1);
  const auto removed = std::make_shared<std::uint32_t>(0);
  const auto one_done = [left, removed, done = std::move(done)](const Result<void>& result) {
    *removed += result ? 1U : 0U;
    if (--*left == 0) {
      done(*removed - 1);
    }
  };
  for (const auto& id : surplus) {
    parts_.stock.retire(id, "the pool is tidied up", one_done);
  }
  event::post(parts_.loop, "pool (cleanup)", [one_done] { one_done({}); });
}

void LivePool::settle_jobs() {
  if (jobs_.empty()) {
    return;
  }
  const auto now = status();
  for (auto* job : std::list<Job*>(jobs_)) {
    job->look(now);
  }
}

}  // namespace hal::worker
