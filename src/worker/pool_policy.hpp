#pragma once

#include "worker/stock.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/** What the pool should do next. Pure. */
namespace hal::worker {

/** How short of memory the host is. */
enum class Pressure { none, some, full };
[[nodiscard]] std::string_view name(Pressure pressure);

using Seconds = std::chrono::duration<double>;

/**
 * How often workers are asked for: claims per second, averaged exponentially over demand_memory. Nothing has to happen
 * for it to fall.
 */
class Demand {
 public:
  using Time = std::chrono::steady_clock::time_point;
  void note(Time now);
  [[nodiscard]] double rate(Time now) const;

 private:
  double rate_ = 0;
  Time at_{};
};
inline constexpr Seconds demand_memory{60};

/** Backoff of what fails, and whether it does so again and again. */
class Circuit {
 public:
  /** How long to wait until the next attempt, which is the only one. */
  std::chrono::milliseconds fail();
  void succeed() noexcept { failures_ = 0; }
  [[nodiscard]] bool failing() const noexcept { return failures_ > 0; }
  [[nodiscard]] bool open() const noexcept { return failures_ >= open_at; }

  static constexpr int open_at = 3;

 private:
  int failures_ = 0;
};

struct PoolSituation {
  std::uint32_t min = 0;
  std::uint32_t max = 0;
  std::chrono::microseconds idle_timeout{};
  /** Claims per second. */
  double demand = 0;
  /** How long it takes to make a worker. */
  Seconds refill_time{};
  Pressure pressure = Pressure::none;
  /** Full pressure was seen again: one worker goes back. */
  bool give_back = false;
  /** Nothing is made or kept. */
  bool drained = false;
  /** What is missing for making one, engine or parent, is there. */
  bool makeable = true;
  /** The last one failed: one at a time, if at all. */
  bool failing = false;
  /** After a failure: not yet. */
  bool waiting = false;
  /** What a worker would be made from now; empty: not known. */
  std::string generation;
  /** For how long claims have been under way without a pause; unset: none is. */
  std::optional<std::chrono::microseconds> claiming_for;
  /** Since the last claim; unset: there was none. */
  std::optional<std::chrono::microseconds> since_claim;
  /** At least this many, by request. */
  std::uint32_t asked_for = 0;
  /** Oldest first. */
  std::vector<WarmWorker> stock;
  std::size_t starting = 0;
  /** For how long there have been more than demand asks for. */
  std::optional<std::chrono::microseconds> surplus_for;
};

struct PoolDecision {
  /** Workers that shall be warm. */
  std::uint32_t target = 0;
  std::size_t create = 0;
  /** With the reason, for people. */
  std::vector<std::pair<WorkerId, std::string>> retire;
  /** There are more than there should be, counted from the first such decision. */
  bool surplus = false;
  /** When to decide again though nothing has happened. */
  std::optional<std::chrono::microseconds> look_again;
};

/** Workers made at the same time: each keeps the engine busy, and with it the spawns that could not be served. */
inline constexpr std::size_t made_at_once = 2;

/**
 * Refills give way to claims, which need the same processors, for so long at most; and to the start of the program
 * that was claimed, for which somebody waits as well, while half of what shall be warm is.
 */
inline constexpr std::chrono::milliseconds claims_first{250};
inline constexpr std::chrono::milliseconds start_first{1000};

/**
 * As many as are claimed while one is made, and two standard deviations more, for claims come by chance; within min
 * and max.
 */
[[nodiscard]] std::uint32_t pool_target(double demand, Seconds refill_time, std::uint32_t min, std::uint32_t max);

[[nodiscard]] PoolDecision pool_policy(const PoolSituation& now);

}  // namespace hal::worker
