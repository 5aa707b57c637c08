#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>

namespace hal::server {

/** How long to wait before a server is started again, and when to give up. */
struct BackoffPolicy {
  std::chrono::milliseconds first{100};
  std::chrono::milliseconds max{30'000};
  /** Up to this part of the delay is taken off at random, so that servers that died together do not return together. */
  double jitter = 0.25;
  /** A process that ran this long was well: the next delay is the first again. */
  std::chrono::milliseconds stable{60'000};
  /** This many failures within `window` are a crash loop. The delays before the tenth add up to 51 s. */
  std::size_t max_failures = 10;
  std::chrono::milliseconds window{300'000};
};

/** The history of one server's failures. Pure: the caller brings time and chance. */
class Backoff {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Backoff(BackoffPolicy policy = {}) : policy_(policy) {}

  /**
   * The process failed at `now` after having run for `ran`. How long to wait before the next start; nothing in a crash
   * loop. `chance` is in [0, 1).
   */
  [[nodiscard]] std::optional<std::chrono::milliseconds> failed(Clock::time_point now, Clock::duration ran,
                                                                double chance);
  /** Forgets all failures: the operator started the server, or its configuration changed. */
  void reset();

 private:
  BackoffPolicy policy_;
  std::chrono::milliseconds next_{0};
  std::deque<Clock::time_point> failures_;
};

}  // namespace hal::server
