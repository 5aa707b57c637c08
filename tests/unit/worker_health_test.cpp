#include "worker/claude_session.hpp"
#include "worker/health_policy.hpp"
#include "worker/idle_policy.hpp"

#include <signal.h>

#include <gtest/gtest.h>

namespace hal::worker {
namespace {

using namespace std::chrono_literals;
using Time = std::chrono::steady_clock::time_point;

TEST(HealthPolicy, TellsFailuresFromEnds) {
  const auto exited = [](int code) { return process::ExitStatus{code, 0}; };
  const auto killed = [](int signal) { return process::ExitStatus{128 + signal, signal}; };
  const struct {
    const char* what;
    End end;
    bool failure;
  } cases[] = {
      {"ended by itself", {false, exited(0), 0}, false},
      {"with an error", {false, exited(3), 3}, false},
      {"a shell whose child was killed", {false, exited(137), 137}, false},
      {"asked to end", {false, killed(SIGTERM), 143}, false},
      {"its terminal was closed", {false, killed(SIGHUP), 129}, false},
      {"crashed", {false, killed(SIGSEGV), 139}, true},
      {"killed, as for memory", {false, killed(SIGKILL), 137}, true},
      {"killed, as its owner asked", {true, killed(SIGKILL), 137}, false},
      {"the container killed from outside", {false, {}, 137}, true},
      {"init crashed", {false, {}, 139}, true},
      {"stopped from outside", {false, {}, 143}, false},
      {"ended with the engine or the host", {false, {}, 255}, false},
      {"ended while nobody looked", {false, {}, 2}, false},
      {"the container is gone", {false, {}, {}}, true},
      {"it was being removed", {true, {}, {}}, false},
      {"ended by a signal its owner sent", {false, killed(SIGUSR1), 138, {SIGUSR1}}, false},
      {"ended so while nobody looked", {false, {}, 138, {SIGUSR1}}, false},
      {"killed after another signal", {false, killed(SIGKILL), 137, {SIGUSR1}}, true},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(is_failure(one.end), one.failure) << one.what;
  }
}

TEST(HealthPolicy, ReplacesWithBackoffWithinABudget) {
  const Time now = Time{} + 24h;
  const End failure{false, {}, 137};
  const struct {
    const char* what;
    std::vector<Time> replaced;
    HealthDecision decision;
  } cases[] = {
      {"the first time", {}, {Remedy::replace, 0s}},
      {"again", {now - 1s}, {Remedy::replace, 1s}},
      {"the third time", {now - 9min, now - 1s}, {Remedy::replace, 2s}},
      {"the fourth", {now - 9min, now - 2s, now - 1s}, {Remedy::replace, 4s}},
      {"too often", {now - 9min, now - 3s, now - 2s, now - 1s}, {Remedy::give_up, 0s}},
      {"the earlier ones are long ago", {now - 2h, now - 1h, now - 11min, now - 10min}, {Remedy::replace, 0s}},
      {"some of them", {now - 11min, now - 10min, now - 599s, now - 1s}, {Remedy::replace, 2s}},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(health_policy(failure, true, one.replaced, now), one.decision) << one.what;
    EXPECT_EQ(health_policy(failure, false, one.replaced, now), HealthDecision{}) << one.what;
  }
  EXPECT_EQ(health_policy({true, {}, 137}, true, {}, now), HealthDecision{});
}

TEST(HealthPolicy, CountsOnFromWhatTheRecordKeeps) {
  constexpr std::uint64_t wall = 1'700'000'000'000'000;
  const Time now = Time{} + 24h;
  const std::vector<Time> replaced = {now - 9min, now - 1s, now};
  const auto kept = kept_replacements(replaced, now, wall);
  EXPECT_EQ(kept, (std::vector<std::uint64_t>{wall - 540'000'000, wall - 1'000'000, wall}));
  const Time after_a_boot = Time{} + 10s;
  const struct {
    const char* what;
    std::chrono::microseconds later;
    std::vector<Time> replaced;
  } cases[] = {
      {"at once", 0s, {after_a_boot - 9min, after_a_boot - 1s, after_a_boot}},
      {"a minute later", 1min, {after_a_boot - 61s, after_a_boot - 1min}},
      {"much later, or the clock was set", 240h, {}},
      {"the clock was set back", -240h, {after_a_boot, after_a_boot, after_a_boot}},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(taken_up_replacements(kept, after_a_boot, wall + static_cast<std::uint64_t>(one.later.count())),
              one.replaced)
        << one.what;
  }
}

TEST(IdlePolicy, StopsWhatNobodyUses) {
  constexpr std::uint64_t second = 1'000'000;
  constexpr std::uint64_t now = 1000 * second;
  const auto nothing = std::nullopt;
  const struct {
    const char* what;
    IdleSituation situation;
    bool stop;
    std::optional<std::chrono::microseconds> look_again;
    std::uint64_t last_activity;
  } cases[] = {
      {"no timeout", {0s, now, 1, 0, {}, false}, false, nothing, 1},
      {"just used", {60s, now, now, 0, {now - second, 0}, false}, false, 60s, now},
      {"used a while ago",
       {60s, now, now - 50 * second, 7, {now - 50 * second, 7}, false},
       false,
       10s,
       now - 50 * second},
      {"not used", {60s, now, now - 60 * second, 7, {now - 60 * second, 7}, false}, true, nothing, now - 60 * second},
      {"it computes", {60s, now, now - 60 * second, 1'800'000'000, {now - 60 * second, 0}, false}, false, 60s, now},
      {"as good as nothing",
       {60s, now, now - 60 * second, 1'700'000'000, {now - 60 * second, 0}, false},
       true,
       nothing,
       now - 60 * second},
      {"it computed before the last look",
       {60s, now, now - 60 * second, 9'000'000'000, {now - second, 9'000'000'000}, false},
       true,
       nothing,
       now - 60 * second},
      {"its owner froze it",
       {60s, now, now - 90 * second, 7, {now - 60 * second, 7}, true},
       false,
       60s,
       now - 90 * second},
      {"the clock was set back",
       {60s, now, now + 99 * second, 7, {now + 98 * second, 7}, false},
       false,
       60s,
       now + 99 * second},
      {"another container counts from 0",
       {60s, now, now - 61 * second, 5, {now - second, 900}, false},
       true,
       nothing,
       now - 61 * second},
      {"all but due",
       {60s, now, now - 60 * second + 1, 7, {now - second, 7}, false},
       false,
       100ms,
       now - 60 * second + 1},
  };
  for (const auto& one : cases) {
    const auto decision = idle_policy(one.situation);
    EXPECT_EQ(decision.stop, one.stop) << one.what;
    EXPECT_EQ(decision.look_again, one.look_again) << one.what;
    EXPECT_EQ(decision.last_activity_usec, one.last_activity) << one.what;
  }
}

TEST(ClaudeSession, BelongsToCommandsThatLeaveItToUs) {
  const struct {
    std::vector<std::string> command;
    bool ours;
  } cases[] = {
      {{"claude"}, true},
      {{"/usr/local/bin/claude"}, true},
      {{"claude", "--model", "opus"}, true},
      {{"claude", "mcp", "list"}, false},
      {{"claude", "fix the bug"}, false},
      {{"claude", "--continue"}, false},
      {{"claude", "--model", "opus", "-c"}, false},
      {{"claude", "--resume=x"}, false},
      {{"claude", "--session-id", "x"}, false},
      {{"claude", "-p", "hello"}, false},
      {{"claudette"}, false},
      {{"sleep", "infinity"}, false},
      {{}, false},
  };
  for (const auto& one : cases) {
    Worker worker;
    worker.id = WorkerId{"0123456789ab"};
    worker.command = one.command;
    const std::string text = one.command.empty() ? "" : one.command.back();
    EXPECT_EQ(has_session(worker), one.ours) << text;
    if (!one.ours) {
      EXPECT_EQ(session_command(worker, true), one.command) << text;
    }
  }
}

TEST(ClaudeSession, HasTheWorkersId) {
  Worker worker;
  worker.id = WorkerId{"0123456789ab"};
  worker.command = {"claude", "--verbose"};
  const std::string id = "68616c39-3030-4030-8000-0123456789ab";
  EXPECT_EQ(session_command(worker, false), (std::vector<std::string>{"claude", "--session-id", id, "--verbose"}));
  EXPECT_EQ(session_command(worker, true), (std::vector<std::string>{"claude", "--resume", id, "--verbose"}));
  EXPECT_EQ(transcript_of(worker), "/home/claude/.claude/projects/-workspace/" + id + ".jsonl");
  worker.env["CLAUDE_CONFIG_DIR"] = "/workspace/.c";
  EXPECT_EQ(transcript_of(worker), "/workspace/.c/projects/-workspace/" + id + ".jsonl");
}

}  // namespace
}  // namespace hal::worker
