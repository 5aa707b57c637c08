#pragma once

#include "base/latency.hpp"
#include "base/result.hpp"
#include "worker/runtime.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace hal::worker {

/**
 * The pool of warm workers: containers of the default profile with everything but a project and an owner. Spawns take
 * them (SpawnRequest::claim), the pool makes new ones at once, as many as demand asks for within its bounds.
 */
class Pool {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /** The status changed. */
    virtual void on_pool_changed() = 0;
  };

  struct Status {
    std::uint32_t min = 0;
    std::uint32_t max = 0;
    std::chrono::microseconds idle_timeout{};
    /** Workers that shall be warm. */
    std::uint32_t target = 0;
    std::uint32_t warm = 0;
    std::uint32_t starting = 0;
    std::uint32_t claimed = 0;
    /** Since the daemon's start. */
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    /** From the question to the running command, where a warm worker was taken. */
    Latency claim_times;
    /** "none", "some", "full", or "unknown" where the host does not tell. */
    std::string pressure;
    bool drained = false;
    /** Making workers keeps failing. */
    bool degraded = false;
    /** Why fewer are warm than should be, or empty. */
    std::string reason;
  };

  /** What is unset stays. */
  struct Change {
    std::optional<std::uint32_t> min;
    std::optional<std::uint32_t> max;
    std::optional<std::chrono::microseconds> idle_timeout;
  };

  /** How far something is, from 0 to 1, and what it is doing, for people. */
  using Progress = std::function<void(double fraction, std::string message)>;

  virtual ~Pool() = default;
  [[nodiscard]] virtual Status status() const = 0;
  /** Outlives the daemon. Ends a drain if it sets a bound. */
  virtual Result<void> configure(const Change& change) = 0;
  /** Until `count` are warm at the same time; ends a drain. The handle's destruction gives up. */
  [[nodiscard]] virtual OperationHandle warm(std::uint32_t count, Progress progress, Done<void> done) = 0;
  /** Until none is left; none is made until warm() or configure(), also after a restart. */
  [[nodiscard]] virtual OperationHandle drain(Progress progress, Done<void> done) = 0;
  /** Removes at once what would go by and by, and says how many. */
  virtual void cleanup(Done<std::uint32_t> done) = 0;
};

}  // namespace hal::worker
