#include "server/backoff.hpp"

#include <algorithm>

namespace hal::server {

std::optional<std::chrono::milliseconds> Backoff::failed(Clock::time_point now, Clock::duration ran, double chance) {
  if (ran >= policy_.stable) {
    reset();
  }
  failures_.push_back(now);
  while (failures_.front() + policy_.window < now) {
    failures_.pop_front();
  }
  if (failures_.size() >= policy_.max_failures) {
    return std::nullopt;
  }
  const auto delay = next_.count() > 0 ? next_ : policy_.first;
  next_ = std::min(delay * 2, policy_.max);
  const double part = 1.0 - policy_.jitter * std::clamp(chance, 0.0, 1.0);
  return std::chrono::milliseconds(
      static_cast<std::chrono::milliseconds::rep>(static_cast<double>(delay.count()) * part));
}

void Backoff::reset() {
  next_ = std::chrono::milliseconds{0};
  failures_.clear();
}

}  // namespace hal::server
