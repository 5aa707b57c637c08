#include "event/loop.hpp"
#include "event/sources.hpp"
#include "support/component.hpp"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace hal::event {
namespace {

using namespace std::chrono_literals;

TEST(Loop, ExitEndsRunWithItsCode) {
  Loop loop;
  Defer defer(loop, "exit", [&] { loop.exit(3); });
  defer.schedule();
  EXPECT_EQ(loop.run(), 3);
  EXPECT_EQ(loop.run(), 3) << "a loop that has ended stays ended";
  EXPECT_FALSE(loop.run_once(0ms));
}

TEST(Loop, RunOnceTellsThatTheLoopIsToEnd) {
  Loop loop;
  Defer defer(loop, "exit", [&] { loop.exit(0); });
  EXPECT_TRUE(loop.run_once(0ms));
  defer.schedule();
  EXPECT_FALSE(loop.run_once(0ms));
}

TEST(Loop, AnExceptionInACallbackEndsItWithFailure) {
  Loop loop;
  bool later = false;
  Defer defer(loop, "thrower", [] { throw std::runtime_error("broken"); });
  Defer after(
      loop, "after", [&] { later = true; }, Priority::idle);
  defer.schedule();
  after.schedule();
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(loop.run(), EXIT_FAILURE);
  const auto log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("thrower"), std::string::npos) << log;
  EXPECT_NE(log.find("broken"), std::string::npos) << log;
  EXPECT_FALSE(later) << "nothing runs after a broken invariant";
}

TEST(Loop, SmallerPrioritiesRunFirst) {
  Loop loop;
  std::vector<int> order;
  Defer idle(
      loop, "idle", [&] { order.push_back(3); }, Priority::idle);
  Defer normal(loop, "normal", [&] { order.push_back(2); });
  Defer urgent(
      loop, "urgent", [&] { order.push_back(1); }, Priority::urgent);
  idle.schedule();
  normal.schedule();
  urgent.schedule();
  ASSERT_TRUE(test::run_until(loop, [&] { return order.size() == 3; }));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(Loop, FeedsTheWatchdogOnlyWhereAsked) {
  Loop loop;
  EXPECT_FALSE(loop.start_watchdog());
}

TEST(Io, ReportsReadinessAndCanBePaused) {
  Loop loop;
  auto pipe = test::make_pipe();
  int calls = 0;
  Io io(loop, pipe.read.get(), EPOLLIN, "pipe", [&](std::uint32_t events) {
    EXPECT_NE(events & EPOLLIN, 0U);
    ++calls;
  });
  test::run_ready(loop);
  EXPECT_EQ(calls, 0);
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  ASSERT_TRUE(test::run_until(loop, [&] { return calls == 1; }));
  io.set_events(0);
  test::run_ready(loop);
  EXPECT_EQ(calls, 1) << "level-triggered, but paused";
  pipe.write.reset();
  test::run_ready(loop);
  EXPECT_EQ(calls, 1) << "a hang-up is silent while paused";
  io.set_events(EPOLLIN);
  ASSERT_TRUE(test::run_until(loop, [&] { return calls > 1; }));
}

TEST(Io, MayBeDestroyedInItsOwnCallback) {
  Loop loop;
  auto pipe = test::make_pipe();
  int calls = 0;
  std::unique_ptr<Io> io;
  const auto alive = std::make_shared<int>(1);
  io = std::make_unique<Io>(loop, pipe.read.get(), EPOLLIN, "pipe", [&, alive](std::uint32_t) {
    io.reset();
    EXPECT_EQ(*alive, 1) << "the closure must live until the callback returns";
    ++calls;
  });
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  ASSERT_TRUE(test::run_until(loop, [&] { return calls == 1; }));
  test::run_ready(loop);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(alive.use_count(), 1) << "the closure is freed with its source";
}

TEST(Source, MovingKeepsTheSourceAndAssigningCancelsTheOldOne) {
  Loop loop;
  int first = 0;
  int second = 0;
  Defer a(loop, "first", [&] { ++first; });
  Defer b(loop, "second", [&] { ++second; });
  a.schedule();
  b.schedule();
  a = std::move(b);
  ASSERT_TRUE(test::run_until(loop, [&] { return second == 1; }));
  test::run_ready(loop);
  EXPECT_EQ(first, 0);
}

TEST(Timer, FiresOnceNotEarlyAndAgainWhenArmedAgain) {
  Loop loop;
  int fired = 0;
  Timer timer(loop, "timer", [&] { ++fired; });
  EXPECT_FALSE(timer.armed());
  const auto begin = std::chrono::steady_clock::now();
  timer.arm(20ms);
  EXPECT_TRUE(timer.armed());
  ASSERT_TRUE(test::run_until(loop, [&] { return fired == 1; }));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  EXPECT_FALSE(timer.armed());
  timer.arm(0ms);
  ASSERT_TRUE(test::run_until(loop, [&] { return fired == 2; }));
  timer.arm(-5ms);
  ASSERT_TRUE(test::run_until(loop, [&] { return fired == 3; })) << "a deadline in the past fires at once";
}

TEST(Timer, CanBeDisarmedAndDestroyedBeforeItFires) {
  Loop loop;
  int fired = 0;
  Timer disarmed(loop, "disarmed", [&] { ++fired; });
  auto destroyed = std::make_optional<Timer>(loop, "destroyed", [&] { ++fired; });
  bool done = false;
  Timer last(loop, "last", [&] { done = true; });
  disarmed.arm(1ms);
  destroyed->arm(1ms);
  last.arm(5ms);
  disarmed.disarm();
  destroyed.reset();
  ASSERT_TRUE(test::run_until(loop, [&] { return done; }));
  EXPECT_EQ(fired, 0);
}

TEST(Defer, RunsInTheNextTurnOnlyOnceAndCanBeCancelled) {
  Loop loop;
  int runs = 0;
  Defer defer(loop, "defer", [&] { ++runs; });
  defer.schedule();
  defer.schedule();
  EXPECT_EQ(runs, 0) << "never from inside the call";
  test::run_ready(loop);
  EXPECT_EQ(runs, 1);
  defer.schedule();
  defer.cancel();
  test::run_ready(loop);
  EXPECT_EQ(runs, 1);
}

TEST(Defer, MayScheduleItselfAgain) {
  Loop loop;
  int runs = 0;
  std::optional<Defer> defer;
  defer.emplace(loop, "again", [&] {
    if (++runs < 3) {
      defer->schedule();
    }
  });
  defer->schedule();
  ASSERT_TRUE(test::run_until(loop, [&] { return runs == 3; }));
}

TEST(Post, RunsOnceAndKeepsNothing) {
  Loop loop;
  const auto held = std::make_shared<int>();
  int runs = 0;
  post(loop, "post", [&runs, held] { ++runs; });
  EXPECT_EQ(runs, 0) << "never from inside the call";
  test::run_ready(loop);
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(held.use_count(), 1) << "what has run is kept";
}

TEST(Signal, ArrivesAsAnEvent) {
  Loop loop;
  int hups = 0;
  Signal signal(loop, SIGHUP, "hup", [&] { ++hups; });
  ASSERT_EQ(::kill(::getpid(), SIGHUP), 0);
  ASSERT_TRUE(test::run_until(loop, [&] { return hups == 1; }));
}

pid_t fork_exit(int code) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::_exit(code);
  }
  return pid;
}

TEST(ChildExit, TellsTheCodeAndReaps) {
  Loop loop;
  std::optional<int> code;
  const pid_t pid = fork_exit(42);
  ChildExit exit(loop, pid, "child", [&](const siginfo_t& info) {
    EXPECT_EQ(info.si_code, CLD_EXITED);
    code = info.si_status;
  });
  ASSERT_TRUE(test::run_until(loop, [&] { return code.has_value(); }));
  EXPECT_EQ(code, 42);
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1) << "left a zombie";
}

TEST(ChildExit, AnAbandonedChildIsReapedWithoutACall) {
  Loop loop;
  auto pipe = test::make_pipe();
  const pid_t pid = ::fork();
  if (pid == 0) {
    char c = 0;
    ::close(pipe.write.get());
    ::_exit(::read(pipe.read.get(), &c, 1) == 0 ? 0 : 1);
  }
  bool called = false;
  {
    ChildExit exit(loop, pid, "child", [&](const siginfo_t&) { called = true; });
    exit.abandon();
  }
  EXPECT_TRUE(test::process_runs(pid));
  pipe.write.reset();
  ASSERT_TRUE(test::wait_gone(pid));
  ASSERT_TRUE(test::run_until(loop, [&] { return test::children().empty(); }));
  EXPECT_FALSE(called);
}

TEST(Timer, CanBeMadeWhenDescriptorsHaveRunOut) {
  Loop loop;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  bool fired = false;
  std::optional<Timer> timer;
  EXPECT_NO_THROW(timer.emplace(loop, "timer", [&] { fired = true; }));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  timer->arm(1ms);
  EXPECT_TRUE(test::run_until(loop, [&] { return fired; }));
}

TEST(Loop, LeaksNoDescriptor) {
  const auto before = test::open_fds();
  {
    Loop loop;
    auto pipe = test::make_pipe();
    Io io(loop, pipe.read.get(), EPOLLIN, "pipe", [](std::uint32_t) {});
    Timer timer(loop, "timer", [] {});
    Signal signal(loop, SIGHUP, "hup", [] {});
    timer.arm(0ms);
    test::run_ready(loop);
  }
  EXPECT_EQ(test::open_fds(), before);
}

}  // namespace
}  // namespace hal::event
