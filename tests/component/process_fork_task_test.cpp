#include "process/fork_task.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace hal::process {
namespace {

using namespace std::chrono_literals;

class ForkTaskTest : public ::testing::Test {
 protected:
  void TearDown() override {
    task_.reset();
    EXPECT_TRUE(test::run_until(loop_, [] { return test::children().empty(); })) << "a process is left";
  }

  void start(const ForkTask::Function& function, std::chrono::milliseconds deadline = 10s) {
    task_ = std::make_unique<ForkTask>(loop_, "task", test::scaled(deadline), function, [this](auto result) {
      ++calls_;
      result_ = std::move(result);
    });
    EXPECT_EQ(calls_, 0) << "never from inside the starting call";
  }

  /** Runs the task to its end; the child must be gone soon after. */
  const Result<TaskOutput>& wait() {
    EXPECT_TRUE(test::run_until(loop_, [&] { return result_.has_value(); }));
    EXPECT_TRUE(test::run_until(loop_, [] { return test::children().empty(); }));
    test::run_ready(loop_);
    EXPECT_EQ(calls_, 1);
    return *result_;
  }

  event::Loop loop_;
  int calls_ = 0;
  std::optional<Result<TaskOutput>> result_;
  std::unique_ptr<ForkTask> task_;
};

/** Ends only when it is killed. */
Result<TaskOutput> hang() {
  for (;;) {
    ::pause();
  }
}

TEST_F(ForkTaskTest, HandsBackTextAndDescriptors) {
  start([]() -> Result<TaskOutput> {
    auto pipe = test::make_pipe();
    (void)!::write(pipe.write.get(), "through\n", 8);
    TaskOutput output;
    output.text = "pid " + std::to_string(::getpid());
    output.fds.push_back(std::move(pipe.read));
    return output;
  });
  const auto& result = wait();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_NE(result->text, "pid " + std::to_string(::getpid())) << "ran in the parent";
  ASSERT_EQ(result->fds.size(), 1U);
  EXPECT_EQ(test::read_line(result->fds[0].get()), "through");
}

TEST_F(ForkTaskTest, HandsBackTheErrorWithItsCode) {
  start([]() -> Result<TaskOutput> { return Error{Errc::denied, "no entry"}; });
  const auto& result = wait();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::denied);
  EXPECT_NE(result.error().message.find("no entry"), std::string::npos);
}

TEST_F(ForkTaskTest, AnExceptionBecomesAnError) {
  start([]() -> Result<TaskOutput> { throw std::runtime_error("lost it"); });
  EXPECT_NE(wait().error().message.find("lost it"), std::string::npos);
}

TEST_F(ForkTaskTest, AnythingThrownBecomesAnError) {
  start([]() -> Result<TaskOutput> { throw 7; });
  EXPECT_EQ(wait().error().code, Errc::internal);
}

TEST_F(ForkTaskTest, AnEndWithoutAnAnswerIsAnError) {
  start([]() -> Result<TaskOutput> { ::_exit(3); });
  EXPECT_NE(wait().error().message.find("exited with code 3"), std::string::npos);
}

TEST_F(ForkTaskTest, ACrashIsAnError) {
  start([]() -> Result<TaskOutput> {
    ::raise(SIGKILL);
    return TaskOutput{};
  });
  EXPECT_NE(wait().error().message.find("signal 9"), std::string::npos);
}

TEST_F(ForkTaskTest, AnAnswerThatIsTooLargeIsAnError) {
  start([]() -> Result<TaskOutput> { return TaskOutput{{}, std::string(1 << 20, 'x')}; });
  EXPECT_EQ(wait().error().code, Errc::limit);
}

TEST_F(ForkTaskTest, ALongErrorStillArrives) {
  start([]() -> Result<TaskOutput> { return Error{Errc::busy, std::string(1 << 20, 'x')}; });
  EXPECT_EQ(wait().error().code, Errc::busy);
}

TEST_F(ForkTaskTest, SixtyFourKibibytesFit) {
  start([]() -> Result<TaskOutput> { return TaskOutput{{}, std::string(64 << 10, 'x')}; });
  const auto& result = wait();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->text.size(), std::size_t{64} << 10);
}

TEST_F(ForkTaskTest, TheDeadlineKillsTheChild) {
  start(hang, 20ms);
  EXPECT_EQ(wait().error().code, Errc::timed_out);
  EXPECT_TRUE(test::children().empty()) << "the task itself still exists";
}

TEST_F(ForkTaskTest, DestructionKillsTheChildWithoutACall) {
  start(hang);
  ASSERT_EQ(test::children().size(), 1U);
  const pid_t pid = test::children()[0];
  task_.reset();
  EXPECT_TRUE(test::wait_gone(pid));
  ASSERT_TRUE(test::run_until(loop_, [] { return test::children().empty(); }));
  EXPECT_EQ(calls_, 0);
}

TEST_F(ForkTaskTest, MayBeDestroyedWhenDone) {
  bool done = false;
  const auto alive = std::make_shared<int>(1);
  task_ = std::make_unique<ForkTask>(
      loop_, "task", test::scaled(10s),
      [] {
        return Result<TaskOutput>(TaskOutput{{}, "x"});
      },
      [&, alive](const Result<TaskOutput>& result) {
        task_.reset();
        EXPECT_EQ(result->text, "x");
        EXPECT_EQ(*alive, 1);
        done = true;
      });
  ASSERT_TRUE(test::run_until(loop_, [&] { return done; }));
  ASSERT_TRUE(test::run_until(loop_, [] { return test::children().empty(); }));
}

TEST_F(ForkTaskTest, RunsWithSignalsReset) {
  start([]() -> Result<TaskOutput> {
    sigset_t blocked;
    ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
    struct sigaction pipe {};
    ::sigaction(SIGPIPE, nullptr, &pipe);
    return TaskOutput{{}, sigismember(&blocked, SIGTERM) == 0 && pipe.sa_handler == SIG_DFL ? "reset" : "inherited"};
  });
  const auto& result = wait();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->text, "reset");
}

TEST_F(ForkTaskTest, InheritsOnlyTheDescriptorsItIsToKeep) {
  const auto kept = test::make_pipe();
  const auto secret = test::make_pipe();
  const auto more = test::make_pipe();
  const auto is_open = [](int fd) { return ::fcntl(fd, F_GETFD) >= 0 ? 'y' : 'n'; };
  std::optional<Result<TaskOutput>> result;
  ForkTask task(
      loop_, "task", test::scaled(10s),
      [&]() -> Result<TaskOutput> {
        std::string open;
        for (const int fd : {1, 2, kept.read.get(), kept.write.get(), secret.read.get(), secret.write.get(),
                             more.read.get(), more.write.get()}) {
          open += is_open(fd);
        }
        return TaskOutput{{}, open + " " + std::to_string(test::open_fds())};
      },
      [&](auto answer) { result = std::move(answer); }, {more.write.get(), -1, kept.read.get(), 2, kept.read.get()});
  ASSERT_TRUE(test::run_until(loop_, [&] { return result.has_value(); }));
  ASSERT_TRUE(*result) << result->error().message;
  // Of all that is open here, stdio, the two and the socket for the answer.
  EXPECT_EQ((*result)->text, "yyynnnny " + std::to_string(3 + 2 + 1));
}

TEST_F(ForkTaskTest, ManyAtOnceEachAnswerTheirOwn) {
  constexpr int count = 20;
  std::vector<std::unique_ptr<ForkTask>> tasks;
  std::vector<std::string> answers(count);
  int done = 0;
  for (int i = 0; i < count; ++i) {
    tasks.push_back(std::make_unique<ForkTask>(
        loop_, "task", test::scaled(10s),
        [i] {
          return Result<TaskOutput>(TaskOutput{{}, std::to_string(i)});
        },
        [&, i](Result<TaskOutput> result) {
          answers[static_cast<std::size_t>(i)] = result ? result->text : result.error().message;
          ++done;
        }));
  }
  ASSERT_TRUE(test::run_until(loop_, [&] { return done == count; }));
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(answers[static_cast<std::size_t>(i)], std::to_string(i));
  }
}

TEST_F(ForkTaskTest, RunningOutOfDescriptorsIsAnError) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  start([] { return Result<TaskOutput>(TaskOutput{}); });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(wait().error().code, Errc::limit);
}

}  // namespace
}  // namespace hal::process
