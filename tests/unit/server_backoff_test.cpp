#include "server/backoff.hpp"

#include <gtest/gtest.h>

namespace hal::server {
namespace {

using std::chrono::milliseconds;

struct Life {
  /** Since the one before, and how long the process ran. */
  int after_ms;
  int ran_ms;
  /** -1: given up. */
  int expected_ms;
};

struct Case {
  const char* name;
  BackoffPolicy policy;
  double chance;
  std::vector<Life> lives;
};

BackoffPolicy plain() {
  BackoffPolicy policy;
  policy.jitter = 0;
  return policy;
}

BackoffPolicy with_failures(std::size_t max, int window_ms) {
  auto policy = plain();
  policy.max_failures = max;
  policy.window = milliseconds(window_ms);
  return policy;
}

class BackoffTest : public ::testing::TestWithParam<Case> {};

TEST_P(BackoffTest, waits_as_the_policy_says) {
  const auto& param = GetParam();
  Backoff backoff(param.policy);
  Backoff::Clock::time_point now{std::chrono::hours(1)};
  for (std::size_t i = 0; i < param.lives.size(); ++i) {
    now += milliseconds(param.lives[i].after_ms);
    const auto delay = backoff.failed(now, milliseconds(param.lives[i].ran_ms), param.chance);
    EXPECT_EQ(delay ? delay->count() : -1, param.lives[i].expected_ms) << "failure " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, BackoffTest,
    ::testing::Values(
        Case{"doubles", plain(), 0, {{0, 0, 100}, {1, 0, 200}, {1, 0, 400}, {1, 0, 800}, {1, 0, 1600}}},
        Case{"ends_at_the_longest",
             with_failures(100, 1),
             0,
             {{9, 0, 100},
              {9, 0, 200},
              {9, 0, 400},
              {9, 0, 800},
              {9, 0, 1600},
              {9, 0, 3200},
              {9, 0, 6400},
              {9, 0, 12800},
              {9, 0, 25600},
              {9, 0, 30000},
              {9, 0, 30000}}},
        Case{"a_stable_life_starts_over", plain(), 0, {{0, 0, 100}, {1, 0, 200}, {60'000, 60'000, 100}, {1, 0, 200}}},
        Case{"just_not_stable", plain(), 0, {{0, 0, 100}, {59'999, 59'999, 200}}},
        Case{"gives_up_in_a_crash_loop", with_failures(3, 1000), 0, {{0, 0, 100}, {500, 0, 200}, {500, 0, -1}}},
        Case{"old_failures_do_not_count",
             with_failures(3, 1000),
             0,
             {{0, 0, 100}, {500, 0, 200}, {501, 0, 400}, {501, 0, 800}, {1, 0, -1}}},
        Case{"jitter_takes_off_a_part", BackoffPolicy{}, 1, {{0, 0, 75}, {1, 0, 150}}},
        Case{"half_of_the_jitter", BackoffPolicy{}, 0.5, {{0, 0, 87}}},
        Case{"first_failure_allowed_none", with_failures(1, 1000), 0, {{0, 0, -1}}}),
    [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(Backoff, reset_forgets_a_crash_loop) {
  Backoff backoff(with_failures(2, 1000));
  const Backoff::Clock::time_point now{std::chrono::hours(1)};
  EXPECT_TRUE(backoff.failed(now, {}, 0));
  EXPECT_FALSE(backoff.failed(now, {}, 0));
  backoff.reset();
  EXPECT_EQ(backoff.failed(now, {}, 0), milliseconds(100));
}

TEST(Backoff, default_delays_before_giving_up_add_up_to_51_seconds) {
  Backoff backoff(plain());
  Backoff::Clock::time_point now{std::chrono::hours(1)};
  milliseconds sum{0};
  std::size_t failures = 1;
  while (const auto delay = backoff.failed(now, {}, 0)) {
    sum += *delay;
    now += *delay;
    ++failures;
  }
  EXPECT_EQ(failures, 10U);
  EXPECT_EQ(sum, milliseconds(51'100));
}

}  // namespace
}  // namespace hal::server
