#include "worker/pool_policy.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace hal::worker {

namespace {

constexpr std::chrono::milliseconds first_retry{500};
constexpr std::chrono::milliseconds last_retry{60'000};

/** When, without claims, the target will be this low. */
std::chrono::microseconds until_target(std::size_t lower, double demand, Seconds refill_time) {
  // ceil(m + 2 sqrt(m)) <= n just where sqrt(m) <= sqrt(n + 1) - 1; m falls as its rate does.
  const double root = std::sqrt(static_cast<double>(lower) + 1) - 1;
  const double expected = demand * refill_time.count();
  const double least = std::max(root * root, 1e-9);
  const auto seconds = expected > least ? demand_memory * std::log(expected / least) : Seconds(0);
  return std::chrono::ceil<std::chrono::milliseconds>(seconds);
}

std::size_t above(std::size_t count, std::size_t bound) {
  return count > bound ? count - bound : 0;
}

/** Splits the stock into what is of use and what is not. */
struct Sorted {
  std::vector<WarmWorker> fresh;
  std::vector<WarmWorker> stale;
  std::vector<WarmWorker> defective;
};

Sorted sort(const PoolSituation& now) {
  Sorted sorted;
  for (const auto& one : now.stock) {
    auto& place = !one.defect.empty()                                          ? sorted.defective
                  : now.generation.empty() || one.generation == now.generation ? sorted.fresh
                                                                               : sorted.stale;
    place.push_back(one);
  }
  return sorted;
}

/** How long a refill has to wait for others' work. */
std::optional<std::chrono::microseconds> until_refill(const PoolSituation& now, std::size_t fresh, std::size_t target) {
  if (now.claiming_for && *now.claiming_for < claims_first) {
    return claims_first - *now.claiming_for;
  }
  if (!now.claiming_for && now.since_claim && *now.since_claim < start_first && 2 * fresh >= target) {
    return start_first - *now.since_claim;
  }
  return std::nullopt;
}

void retire_first(std::vector<WarmWorker>& from, std::size_t count, const std::string& reason, PoolDecision& decision) {
  count = std::min(count, from.size());
  for (std::size_t i = 0; i < count; ++i) {
    decision.retire.emplace_back(from[i].id, reason);
  }
  from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace

std::string_view name(Pressure pressure) {
  switch (pressure) {
    case Pressure::none:
      return "none";
    case Pressure::some:
      return "some";
    case Pressure::full:
      return "full";
  }
  return "unknown";
}

void Demand::note(Time now) {
  rate_ = rate(now) + 1 / demand_memory.count();
  at_ = now;
}

double Demand::rate(Time now) const {
  const Seconds past = std::max(now - at_, Time::duration::zero());
  return rate_ * std::exp(-past / demand_memory);
}

std::chrono::milliseconds Circuit::fail() {
  ++failures_;
  return std::min(last_retry, first_retry * (1 << std::min(failures_ - 1, 10)));
}

std::uint32_t pool_target(double demand, Seconds refill_time, std::uint32_t min, std::uint32_t max) {
  const double expected = demand * refill_time.count();
  const double wanted = std::ceil(expected + 2 * std::sqrt(expected));
  return wanted >= max ? max : std::clamp(static_cast<std::uint32_t>(wanted), min, max);
}

PoolDecision pool_policy(const PoolSituation& now) {
  PoolDecision decision;
  auto [fresh, stale, defective] = sort(now);
  if (now.drained) {
    for (auto* part : {&defective, &stale, &fresh}) {
      retire_first(*part, part->size(), "the pool is drained", decision);
    }
    return decision;
  }
  const auto by_demand = pool_target(now.demand, now.refill_time, now.min, now.max);
  decision.target = std::max(by_demand, std::min(now.asked_for, now.max));
  for (const auto& one : defective) {
    decision.retire.emplace_back(one.id, one.defect);
  }
  // A replacement comes before what it replaces goes, so that the pool is never emptier for being renewed.
  const auto still_needed = above(decision.target, fresh.size());
  retire_first(stale, above(stale.size(), still_needed), "image or configuration have changed", decision);
  if (now.give_back) {
    auto& from = stale.empty() ? fresh : stale;
    retire_first(from, 1, "the host is short of memory", decision);
  }

  const auto warm = fresh.size() + stale.size();
  decision.surplus = warm > decision.target;
  if (decision.surplus && now.surplus_for) {
    if (*now.surplus_for >= now.idle_timeout) {
      retire_first(fresh, warm - decision.target, "it was not needed", decision);
      decision.surplus = false;
    } else {
      decision.look_again = now.idle_timeout - *now.surplus_for;
    }
  } else if (decision.surplus) {
    decision.look_again = now.idle_timeout;
  } else if (warm > now.min && warm > 0) {
    decision.look_again = until_target(warm - 1, now.demand, now.refill_time);
  }

  if (now.makeable && !now.waiting && now.pressure == Pressure::none && !now.generation.empty()) {
    const auto missing = above(decision.target, fresh.size() + now.starting);
    if (const auto rest = missing > 0 ? until_refill(now, fresh.size(), decision.target) : std::nullopt) {
      decision.look_again = decision.look_again ? std::min(*decision.look_again, *rest) : *rest;
    } else {
      decision.create = std::min(missing, above(now.failing ? 1 : made_at_once, now.starting));
    }
  }
  return decision;
}

}  // namespace hal::worker
