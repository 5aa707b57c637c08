#include "worker/pool_policy.hpp"
#include "worker/pool_state.hpp"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::worker {
namespace {

using namespace std::chrono_literals;

/** "a", "b", … of the generation wanted now. */
std::vector<WarmWorker> fresh(std::size_t count) {
  std::vector<WarmWorker> stock;
  for (std::size_t i = 0; i < count; ++i) {
    stock.push_back({WorkerId{std::string(1, static_cast<char>('a' + i))}, "now", 1000 + i, ""});
  }
  return stock;
}

PoolSituation calm() {
  PoolSituation now;
  now.min = 2;
  now.max = 5;
  now.idle_timeout = 300s;
  now.refill_time = Seconds(0.5);
  now.generation = "now";
  now.stock = fresh(2);
  return now;
}

std::string retired(const PoolDecision& decision) {
  std::string ids;
  for (const auto& [id, reason] : decision.retire) {
    EXPECT_FALSE(reason.empty());
    ids += id.value;
  }
  return ids;
}

struct Case {
  const char* name;
  std::function<void(PoolSituation&)> change;
  std::uint32_t target;
  std::size_t create;
  const char* retire;
};

class PoolPolicy : public ::testing::TestWithParam<Case> {};

TEST_P(PoolPolicy, decides) {
  auto now = calm();
  GetParam().change(now);
  const auto decision = pool_policy(now);
  EXPECT_EQ(decision.target, GetParam().target);
  EXPECT_EQ(decision.create, GetParam().create);
  EXPECT_EQ(retired(decision), GetParam().retire);
}

INSTANTIATE_TEST_SUITE_P(
    Table, PoolPolicy,
    ::testing::Values(
        Case{"full", [](auto&) {}, 2, 0, ""},
        Case{"refills_at_once", [](auto& s) { s.stock = fresh(1); }, 2, 1, ""},
        Case{"two_at_a_time", [](auto& s) { s.stock.clear(), s.min = 5; }, 5, 2, ""},
        Case{"one_more_beside_one", [](auto& s) { s.stock.clear(), s.min = 5, s.starting = 1; }, 5, 1, ""},
        Case{"none_beside_two", [](auto& s) { s.stock.clear(), s.min = 5, s.starting = 2; }, 5, 0, ""},
        Case{"claims_go_first", [](auto& s) { s.stock = fresh(1), s.claiming_for = 249ms; }, 2, 0, ""},
        Case{"but_not_for_ever", [](auto& s) { s.stock = fresh(1), s.claiming_for = 250ms; }, 2, 1, ""},
        Case{"what_was_claimed_starts_first", [](auto& s) { s.stock = fresh(1), s.since_claim = 999ms; }, 2, 0, ""},
        Case{"for_a_second", [](auto& s) { s.stock = fresh(1), s.since_claim = 1s; }, 2, 1, ""},
        Case{"not_with_less_than_half", [](auto& s) { s.stock = fresh(1), s.min = 3, s.since_claim = 0s; }, 3, 2, ""},
        Case{"not_with_none", [](auto& s) { s.stock.clear(), s.min = 1, s.since_claim = 0s; }, 1, 1, ""},
        Case{"counts_those_on_the_way", [](auto& s) { s.stock = fresh(1), s.starting = 1; }, 2, 0, ""},
        Case{"follows_demand", [](auto& s) { s.demand = 2; }, 3, 1, ""},
        Case{"follows_the_time_a_refill_takes", [](auto& s) { s.demand = 2, s.refill_time = Seconds(1.5); }, 5, 2, ""},
        Case{"never_beyond_max", [](auto& s) { s.demand = 1e9; }, 5, 2, ""},
        Case{"of_size_none", [](auto& s) { s.min = s.max = 0, s.demand = 9, s.stock.clear(); }, 0, 0, ""},
        Case{"by_request", [](auto& s) { s.asked_for = 4; }, 4, 2, ""},
        Case{"by_request_up_to_max", [](auto& s) { s.asked_for = 9; }, 5, 2, ""},
        Case{"no_engine", [](auto& s) { s.stock.clear(), s.makeable = false; }, 2, 0, ""},
        Case{"image_not_known_yet", [](auto& s) { s.stock.clear(), s.generation.clear(); }, 2, 0, ""},
        Case{"not_known_is_not_stale", [](auto& s) { s.generation.clear(); }, 2, 0, ""},
        Case{"after_a_failure_not_yet", [](auto& s) { s.stock.clear(), s.failing = s.waiting = true; }, 2, 0, ""},
        Case{"after_a_failure_one", [](auto& s) { s.stock.clear(), s.failing = true; }, 2, 1, ""},
        Case{"after_a_failure_only_one", [](auto& s) { s.stock.clear(), s.failing = true, s.starting = 1; }, 2, 0, ""},
        Case{"pressure_stops_refills", [](auto& s) { s.stock = fresh(1), s.pressure = Pressure::some; }, 2, 0, ""},
        Case{"full_pressure_gives_one_back",
             [](auto& s) { s.pressure = Pressure::full, s.give_back = true; }, 2, 0, "a"},
        Case{"full_pressure_waits_for_its_next_sign", [](auto& s) { s.pressure = Pressure::full; }, 2, 0, ""},
        Case{"drained", [](auto& s) { s.drained = true; }, 0, 0, "ab"},
        Case{"surplus_is_kept_a_while", [](auto& s) { s.stock = fresh(4); }, 2, 0, ""},
        Case{"surplus_not_long_enough", [](auto& s) { s.stock = fresh(4), s.surplus_for = 299s; }, 2, 0, ""},
        Case{"surplus_goes_oldest_first", [](auto& s) { s.stock = fresh(4), s.surplus_for = 300s; }, 2, 0, "ab"},
        Case{"surplus_with_new_demand_stays",
             [](auto& s) { s.stock = fresh(4), s.surplus_for = 300s, s.demand = 3; }, 4, 0, ""},
        Case{"the_useless_are_replaced", [](auto& s) { s.stock[0].defect = "it is paused"; }, 2, 1, "a"},
        Case{"all_stale_stay_until_replaced",
             [](auto& s) { s.generation = "next"; }, 2, 2, ""},
        Case{"a_replaced_one_goes",
             [](auto& s) {
               s.stock = fresh(3);
               s.stock[0].generation = s.stock[1].generation = "old";
             },
             2, 1, "a"},
        Case{"when_all_are_replaced_the_rest_goes",
             [](auto& s) {
               s.stock = fresh(4);
               s.stock[0].generation = s.stock[1].generation = "old";
             },
             2, 0, "ab"}),
    [](const auto& one) { return std::string(one.param.name); });

/** Whatever the numbers, the pool stays between its bounds and makes no more than are missing. */
TEST(PoolTarget, stays_in_its_bounds) {
  for (const double demand : {0.0, 1e-12, 0.01, 1.0, 50.0, 1e12}) {
    for (const double refill : {0.0, 0.001, 0.5, 30.0, 1e6}) {
      for (const auto& [min, max] : {std::pair(0U, 0U), std::pair(0U, 1U), std::pair(2U, 5U), std::pair(64U, 64U)}) {
        const auto target = pool_target(demand, Seconds(refill), min, max);
        EXPECT_GE(target, min);
        EXPECT_LE(target, max);
      }
    }
  }
  EXPECT_EQ(pool_target(1, Seconds(1), 0, 64), 3U);
  EXPECT_EQ(pool_target(4, Seconds(1), 0, 64), 8U);
  EXPECT_EQ(pool_target(0.001, Seconds(0.5), 0, 64), 1U);
}

/** It looks again just when the target has fallen, not before, and not at all where nothing will change. */
TEST(PoolPolicy, looks_again_when_time_alone_changes_something) {
  auto now = calm();
  EXPECT_FALSE(pool_policy(now).look_again) << "an idle pool would wake up";
  now.stock = fresh(4);
  EXPECT_EQ(pool_policy(now).look_again, 300s);
  EXPECT_TRUE(pool_policy(now).surplus);
  now.surplus_for = 100s;
  EXPECT_EQ(pool_policy(now).look_again, 200s);
  now.surplus_for.reset();
  now.stock = fresh(1);
  now.claiming_for = 100ms;
  EXPECT_EQ(pool_policy(now).look_again, 150ms);
  now.claiming_for.reset();
  now.stock = fresh(4);
  now.demand = 3;
  const auto again = pool_policy(now).look_again;
  ASSERT_TRUE(again);
  const auto demand_after = [&](auto time) { return now.demand * std::exp(-Seconds(time) / demand_memory); };
  EXPECT_EQ(pool_target(demand_after(*again - 100ms), now.refill_time, 2, 5), 4U);
  EXPECT_EQ(pool_target(demand_after(*again + 1ms), now.refill_time, 2, 5), 3U);
}

TEST(PoolDemand, is_the_rate_of_the_last_minute) {
  Demand demand;
  const Demand::Time start{1000h};
  EXPECT_EQ(demand.rate(start), 0);
  for (int second = 0; second < 600; ++second) {
    demand.note(start + std::chrono::seconds(second));
    demand.note(start + std::chrono::seconds(second));
  }
  EXPECT_NEAR(demand.rate(start + 600s), 2, 0.05);
  EXPECT_NEAR(demand.rate(start + 660s), 2 / std::exp(1), 0.05);
  EXPECT_LT(demand.rate(start + 1h), 1e-9);
}

TEST(PoolCircuit, opens_at_the_third_failure_and_closes_with_a_success) {
  Circuit circuit;
  EXPECT_EQ(circuit.fail(), 500ms);
  EXPECT_TRUE(circuit.failing());
  EXPECT_EQ(circuit.fail(), 1000ms);
  EXPECT_FALSE(circuit.open());
  EXPECT_EQ(circuit.fail(), 2000ms);
  EXPECT_TRUE(circuit.open());
  for (int i = 0; i < 100; ++i) {
    EXPECT_LE(circuit.fail(), 60s);
  }
  EXPECT_EQ(circuit.fail(), 60s);
  circuit.succeed();
  EXPECT_FALSE(circuit.failing());
  EXPECT_EQ(circuit.fail(), 500ms);
}

TEST(PoolState, survives_as_text) {
  PoolState state;
  state.drained = true;
  state.change = {.min = 1, .max = 9, .idle_timeout = 7s};
  const auto read = pool_state_from_json(to_json(state));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->drained);
  EXPECT_EQ(read->change.min, 1U);
  EXPECT_EQ(read->change.max, 9U);
  EXPECT_EQ(read->change.idle_timeout, 7s);
  const auto empty = pool_state_from_json("{}");
  ASSERT_TRUE(empty);
  EXPECT_FALSE(empty->drained || empty->change.min || empty->change.max || empty->change.idle_timeout);
}

TEST(PoolState, that_is_none_is_refused_by_its_key) {
  for (const auto& [text, key] : {std::pair(R"({"min":-1})", "min"), std::pair(R"({"max":4294967296})", "max"),
                                  std::pair(R"({"idle_timeout_usec":18446744073709551615})", "idle_timeout_usec"),
                                  std::pair(R"({"drained":1})", "drained"), std::pair("[", "line 1")}) {
    const auto read = pool_state_from_json(text);
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().message.find(key), std::string::npos) << read.error().message;
  }
}

}  // namespace
}  // namespace hal::worker
