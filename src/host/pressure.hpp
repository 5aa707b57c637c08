#pragma once

#include "event/sources.hpp"
#include "worker/pool_policy.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hal::host {

/**
 * Memory pressure as the kernel counts it (PSI): of the host, and of hal9000.slice where control groups of version 2
 * have one. The kernel wakes us when tasks waited for memory for a tenth of the last two seconds; in between
 * nothing runs. It says nothing at the end, so a level holds for hold_time after its last sign.
 */
class PressureWatch {
 public:
  static constexpr auto hold_time = std::chrono::seconds(10);
  /** Called at each sign, and when the level falls. */
  using Callback = std::function<void(worker::Pressure)>;

  PressureWatch(event::Loop& loop, const std::vector<std::string>& files, Callback callback);
  ~PressureWatch();
  PressureWatch(const PressureWatch&) = delete;
  PressureWatch& operator=(const PressureWatch&) = delete;

  /** At least one file could be watched. */
  [[nodiscard]] bool watching() const noexcept { return !triggers_.empty(); }

  /** What there is to watch on this host. */
  [[nodiscard]] static std::vector<std::string> files();

  /** A sign of this level was seen. */
  void note(worker::Pressure level);

 private:
  struct Trigger;

  void add(const std::string& file, const char* words, worker::Pressure level);
  void fall();

  event::Loop& loop_;
  Callback callback_;
  worker::Pressure level_ = worker::Pressure::none;
  std::chrono::steady_clock::time_point last_full_{};
  event::Timer hold_;
  std::vector<std::unique_ptr<Trigger>> triggers_;
};

}  // namespace hal::host
