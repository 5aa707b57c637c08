#include "daemon/run_lock.hpp"
#include "process/child.hpp"
#include "process/fork_task.hpp"
#include "process/spawn.hpp"
#include "support/component.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace hal::daemon {
namespace {

using namespace std::chrono_literals;

TEST(RunLock, AFolderHasOneHolderAndTheOtherHearsWho) {
  const test::TempDir dir;
  const std::string run = dir / "run";
  auto first = lock_run_dir(run);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = lock_run_dir(run);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::already_exists);
  EXPECT_NE(second.error().message.find(run), std::string::npos) << second.error().message;
  EXPECT_NE(second.error().message.find("process " + std::to_string(::getpid())), std::string::npos)
      << second.error().message;
  EXPECT_TRUE(lock_run_dir(dir / "other")) << "another folder is another daemon's";
  first->reset();
  EXPECT_TRUE(lock_run_dir(run)) << "a lock that nobody holds any more is taken";
}

TEST(RunLock, OnlyItsOwnerMayOpenTheFile) {
  const test::TempDir dir;
  const auto lock = lock_run_dir(dir.path());
  ASSERT_TRUE(lock);
  struct stat status {};
  ASSERT_EQ(::fstat(lock->get(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(RunLock, WhatIsInTheWayIsNamed) {
  const test::TempDir dir;
  const auto lock = lock_run_dir(dir.write("file", "") + "/run");
  ASSERT_FALSE(lock);
  EXPECT_NE(lock.error().message.find("/file/run"), std::string::npos) << lock.error().message;
  ASSERT_EQ(::symlink("/etc/passwd", (dir / "hal9000d.lock").c_str()), 0);
  EXPECT_FALSE(lock_run_dir(dir.path())) << "followed a link";
}

/** The gateway and tasks outlive the daemon for a moment, or for long; its successor must not wait for them. */
TEST(RunLock, NoChildHoldsIt) {
  const test::TempDir dir;
  event::Loop loop;
  auto lock = lock_run_dir(dir.path());
  ASSERT_TRUE(lock);
  process::SpawnSpec spec;
  spec.argv = {"sleep", "1000"};
  const auto pid = process::spawn(spec);
  ASSERT_TRUE(pid) << pid.error().message;
  const process::Child program(loop, *pid, "program", [](const process::ExitStatus&) {});
  const auto started = test::make_pipe();
  const process::ForkTask task(
      loop, "task", test::scaled(60s),
      [&started]() -> Result<process::TaskOutput> {
        (void)!::write(started.write.get(), "\n", 1);
        for (;;) {
          ::pause();
        }
      },
      [](const Result<process::TaskOutput>&) {}, {started.write.get()});
  (void)test::read_line(started.read.get());
  lock->reset();
  const auto again = lock_run_dir(dir.path());
  EXPECT_TRUE(again) << again.error().message;
}

/** A daemon that is killed while it forks leaves a copy of the lock with a child, which is about to close it. */
TEST(RunLock, AChildOfADeadDaemonIsWaitedForAMoment) {
  const test::TempDir dir;
  const pid_t dead = ::fork();
  if (dead == 0) {
    auto lock = lock_run_dir(dir.path());
    if (::fork() == 0) {
      (void)::ualarm(200'000, 0);  // which ends it
      for (;;) {
        ::pause();
      }
    }
    ::_exit(lock ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(dead, &status, 0), dead);
  ASSERT_EQ(status, 0);
  const auto lock = lock_run_dir(dir.path());
  EXPECT_TRUE(lock) << lock.error().message;
}

}  // namespace
}  // namespace hal::daemon
