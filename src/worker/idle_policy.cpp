#include "worker/idle_policy.hpp"

#include <algorithm>

namespace hal::worker {

namespace {

/** Not more often than this, whatever the clock does. */
constexpr std::chrono::microseconds shortest_look = std::chrono::milliseconds(100);

bool computes(const IdleSituation& now) {
  if (now.cpu_nsec <= now.before.cpu_nsec) {
    return false;
  }
  const double nsec = static_cast<double>(now.cpu_nsec - now.before.cpu_nsec);
  const double past_usec =
      now.now_usec > now.before.at_usec ? static_cast<double>(now.now_usec - now.before.at_usec) : 0;
  return nsec >= idle_cpu_floor * past_usec * 1000;
}

}  // namespace

IdleDecision idle_policy(const IdleSituation& now) {
  IdleDecision decision;
  decision.last_activity_usec = computes(now) ? std::max(now.now_usec, now.last_activity_usec) : now.last_activity_usec;
  if (now.timeout.count() == 0) {
    return decision;
  }
  // The real time clock may be set back.
  const auto idle = std::chrono::microseconds(
      now.now_usec > decision.last_activity_usec ? now.now_usec - decision.last_activity_usec : 0);
  if (now.paused) {
    decision.look_again = now.timeout;
  } else if (idle >= now.timeout) {
    decision.stop = true;
  } else {
    decision.look_again = std::max(now.timeout - idle, shortest_look);
  }
  return decision;
}

}  // namespace hal::worker
