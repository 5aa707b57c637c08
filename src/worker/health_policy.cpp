#include "worker/health_policy.hpp"

#include <signal.h>

#include <algorithm>

namespace hal::worker {

namespace {

bool asks_to_end(int signal) {
  return signal == SIGHUP || signal == SIGINT || signal == SIGPIPE || signal == SIGTERM;
}

}  // namespace

bool is_failure(const End& end) {
  if (end.wanted) {
    return false;
  }
  if (end.command) {
    const int signal = end.command->signal;
    return signal != 0 && !asks_to_end(signal) && !end.sent.contains(signal);
  }
  if (end.container_code) {  // of init, which passes on how the command ended, or is killed itself
    // 255 is what engines say of containers that ended while they did not run themselves, as at a reboot.
    const int signal = *end.container_code - 128;
    return signal > 0 && signal <= SIGRTMAX && !asks_to_end(signal) && !end.sent.contains(signal);
  }
  return true;
}

HealthDecision health_policy(const End& end, bool may_replace,
                             const std::vector<std::chrono::steady_clock::time_point>& replaced,
                             std::chrono::steady_clock::time_point now) {
  if (!may_replace || !is_failure(end)) {
    return {};
  }
  const auto recent = static_cast<std::size_t>(
      std::count_if(replaced.begin(), replaced.end(), [now](auto time) { return now - time < replacements_within; }));
  if (recent >= replacements_at_most) {
    return {Remedy::give_up, {}};
  }
  return {Remedy::replace, recent == 0 ? std::chrono::milliseconds(0) : std::chrono::seconds(1U << (recent - 1))};
}

std::vector<std::uint64_t> kept_replacements(const std::vector<std::chrono::steady_clock::time_point>& replaced,
                                             std::chrono::steady_clock::time_point now, std::uint64_t now_usec) {
  std::vector<std::uint64_t> kept;
  for (const auto time : replaced) {
    const auto age = std::chrono::duration_cast<std::chrono::microseconds>(now - time).count();
    kept.push_back(now_usec - std::min(now_usec, static_cast<std::uint64_t>(age)));
  }
  return kept;
}

std::vector<std::chrono::steady_clock::time_point> taken_up_replacements(const std::vector<std::uint64_t>& kept,
                                                                         std::chrono::steady_clock::time_point now,
                                                                         std::uint64_t now_usec) {
  std::vector<std::chrono::steady_clock::time_point> replaced;
  for (const auto time : kept) {
    const auto age = now_usec - std::min(now_usec, time);
    if (age < static_cast<std::uint64_t>(std::chrono::microseconds(replacements_within).count())) {
      replaced.push_back(now - std::chrono::microseconds(age));
    }
  }
  return replaced;
}

}  // namespace hal::worker
