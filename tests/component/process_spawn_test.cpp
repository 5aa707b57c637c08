#include "process/child.hpp"
#include "process/spawn.hpp"
#include "process/start.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace hal::process {
namespace {

using namespace std::chrono_literals;

/** Runs a shell script to its end with stdout read here. */
class SpawnTest : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_TRUE(test::run_until(loop_, [] { return test::children().empty(); })) << "a process is left";
  }

  struct Outcome {
    std::string output;
    ExitStatus status;
  };

  static SpawnSpec shell(const std::string& script) {
    SpawnSpec spec;
    spec.argv = {"/bin/sh", "-c", script};
    return spec;
  }

  Outcome run(SpawnSpec spec) {
    auto pipe = test::make_pipe();
    spec.fds.emplace_back(1, pipe.write.get());
    const auto pid = spawn(spec);
    EXPECT_TRUE(pid) << pid.error().message;
    if (!pid) {
      return {};
    }
    pipe.write.reset();
    std::optional<ExitStatus> status;
    Child child(loop_, *pid, "test", [&](const ExitStatus& s) { status = s; });
    auto output = test::read_all(pipe.read.get());
    EXPECT_TRUE(test::run_until(loop_, [&] { return status.has_value(); }));
    return {std::move(output), status.value_or(ExitStatus{})};
  }

  event::Loop loop_;
};

void expect_failure(const SpawnSpec& spec, Errc code, const std::string& step) {
  const auto before = test::open_fds();
  const auto pid = spawn(spec);
  ASSERT_FALSE(pid);
  EXPECT_EQ(pid.error().code, code) << pid.error().message;
  EXPECT_NE(pid.error().message.find(step), std::string::npos) << pid.error().message;
  EXPECT_NE(pid.error().message.find(spec.argv.empty() ? "" : spec.argv[0]), std::string::npos) << pid.error().message;
  EXPECT_EQ(test::open_fds(), before);
  EXPECT_TRUE(test::children().empty()) << "a failed start left a process";
}

TEST_F(SpawnTest, RunsAProgramWithItsArgumentsAndItsEnvironmentOnly) {
  SpawnSpec spec;
  spec.argv = {"/bin/sh", "-c", "echo \"$0|$1|$#\"; env", "zero", "one two"};
  spec.env = {"ONLY=this"};
  const auto outcome = run(spec);
  EXPECT_EQ(outcome.status.code, 0);
  EXPECT_TRUE(outcome.output.starts_with("zero|one two|1\n")) << outcome.output;
  EXPECT_NE(outcome.output.find("ONLY=this\n"), std::string::npos);
  EXPECT_EQ(outcome.output.find("HOME="), std::string::npos);
}

TEST_F(SpawnTest, LooksTheProgramUpInThePathOfItsEnvironment) {
  const test::TempDir dir;
  dir.write("hal-tool", "#!/bin/sh\necho found\n", 0755);
  SpawnSpec spec;
  spec.argv = {"hal-tool"};
  spec.env = {"PATH=" + dir / "missing:" + dir.path()};
  EXPECT_EQ(run(spec).output, "found\n");
  spec.env = {"PATH=" + dir / "missing"};
  expect_failure(spec, Errc::not_found, "execve");
}

TEST_F(SpawnTest, TellsTheFailedStep) {
  const test::TempDir dir;
  SpawnSpec spec;
  expect_failure(spec, Errc::invalid_argument, "empty");
  spec.argv = {dir / "missing"};
  expect_failure(spec, Errc::not_found, "execve");
  spec.argv = {dir.write("data", "no program")};
  expect_failure(spec, Errc::denied, "execve");
  spec.argv = {dir.write("broken", "no program", 0755)};
  expect_failure(spec, Errc::internal, "execve");
  spec = shell("true");
  spec.cwd = dir / "missing";
  expect_failure(spec, Errc::not_found, "chdir");
  spec = shell("true");
  spec.network_namespace = STDIN_FILENO;
  expect_failure(spec, Errc::invalid_argument, "setns");
  spec = shell("true");
  spec.fds = {{0, 999'999}};
  expect_failure(spec, Errc::internal, "dup");
  spec.fds = {{64, 0}};
  expect_failure(spec, Errc::invalid_argument, "descriptors");
  spec.fds = {{0, -1}};
  expect_failure(spec, Errc::invalid_argument, "descriptors");
}

TEST_F(SpawnTest, AnUnexecutableCandidateIsReportedOnlyIfNoOtherWorks) {
  const test::TempDir first;
  const test::TempDir second;
  first.write("hal-tool", "not executable", 0644);
  SpawnSpec spec;
  spec.argv = {"hal-tool"};
  spec.env = {"PATH=" + first.path() + ":" + second.path()};
  expect_failure(spec, Errc::denied, "execve");
  second.write("hal-tool", "#!/bin/sh\necho second\n", 0755);
  EXPECT_EQ(run(spec).output, "second\n");
}

TEST_F(SpawnTest, PlacesDescriptorsAndInheritsNoOther) {
  const auto a = test::make_pipe();
  const auto b = test::make_pipe();
  const UniqueFd leaky(::fcntl(a.read.get(), F_DUPFD, 20));  // without close-on-exec, as of a careless library
  ASSERT_TRUE(leaky);
  auto spec = shell("echo err >&2; echo three >&3; echo four >&4; ls /proc/self/fd; readlink /proc/self/fd/0");
  // Each wanted number is the source of the other: a plain dup2 in order would clobber one of them.
  spec.fds = {{3, b.write.get()}, {4, a.write.get()}};
  const int three = a.write.get();
  const int four = b.write.get();
  ASSERT_NE(three, four);
  const auto outcome = run(spec);
  std::istringstream listed(outcome.output);
  std::string fds;
  std::string word;
  while (listed >> word && word.find('/') == std::string::npos) {
    fds += word + " ";
  }
  EXPECT_TRUE(fds == "0 1 2 3 4 5 ") << fds << "(5 is ls's own)";
  EXPECT_EQ(word, "/dev/null");
  EXPECT_EQ(test::read_line(b.read.get()), "three");
  EXPECT_EQ(test::read_line(a.read.get()), "four");
}

TEST_F(SpawnTest, SwapsDescriptorsWhoseNumbersCross) {
  const auto a = test::make_pipe();
  const auto b = test::make_pipe();
  const UniqueFd first(::fcntl(a.write.get(), F_DUPFD_CLOEXEC, 40));
  const UniqueFd second(::fcntl(b.write.get(), F_DUPFD_CLOEXEC, 41));
  ASSERT_EQ(first.get(), 40);
  ASSERT_EQ(second.get(), 41);
  SpawnSpec spec;
  spec.argv = {"/bin/bash", "-c", "echo on-40 >&40; echo on-41 >&41"};
  spec.fds = {{40, 41}, {41, 40}};
  EXPECT_EQ(run(spec).status.code, 0);
  EXPECT_EQ(test::read_line(b.read.get()), "on-40");
  EXPECT_EQ(test::read_line(a.read.get()), "on-41");
}

TEST_F(SpawnTest, StartsWithCleanSignals) {
  const auto outcome = run(shell("sed -n '/^Sig[BIC]/p' /proc/self/status"));
  EXPECT_EQ(outcome.output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n");
}

TEST_F(SpawnTest, LeadsASessionInItsFolderWithoutCoreDumps) {
  const test::TempDir dir;
  auto spec = shell("cut -d' ' -f1,5,6 /proc/$$/stat; pwd; ulimit -c; :");
  spec.cwd = dir.path();
  std::istringstream output(run(spec).output);
  pid_t pid = 0;
  pid_t group = 0;
  pid_t session = 0;
  std::string cwd;
  std::string core;
  output >> pid >> group >> session >> cwd >> core;
  EXPECT_EQ(pid, group);
  EXPECT_EQ(pid, session);
  EXPECT_EQ(cwd, dir.path());
  EXPECT_EQ(core, "0");
  EXPECT_EQ(run(shell("pwd")).output, "/\n");
}

TEST_F(SpawnTest, RunsAsAnotherUserWithoutGroups) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const test::TempDir dir;
  auto spec = shell("id -u; id -g; id -G; cat " + dir.write("secret", "x", 0600) + " 2>/dev/null || echo refused");
  spec.user = {{12345, 23456}};
  EXPECT_EQ(run(spec).output, "12345\n23456\n23456\nrefused\n");
  spec = shell("true");
  spec.user = {{12345, 23456}};
  spec.cwd = dir.path();  // 0700 and root's
  expect_failure(spec, Errc::denied, "chdir");
}

TEST_F(SpawnTest, EntersNetworkNamespaces) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  struct stat ours {};
  ASSERT_EQ(::stat("/proc/self/ns/net", &ours), 0);
  auto spec = shell("stat -L -c %i /proc/self/ns/net; tail -n +3 /proc/net/dev | wc -l; read line || true");
  const auto hold = test::make_pipe();
  spec.fds = {{0, hold.read.get()}};
  spec.private_network = true;
  auto out = test::make_pipe();
  spec.fds.emplace_back(1, out.write.get());
  const auto pid = spawn(spec);
  ASSERT_TRUE(pid) << pid.error().message;
  const Child first(loop_, *pid, "first", [](const ExitStatus&) {});
  const auto inode = test::read_line(out.read.get());
  EXPECT_NE(inode, std::to_string(ours.st_ino));
  EXPECT_EQ(test::read_line(out.read.get()), "1") << "only a loopback";

  const UniqueFd net(::open(("/proc/" + std::to_string(*pid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC));
  auto second = shell("stat -L -c %i /proc/self/ns/net");
  second.network_namespace = net.get();
  EXPECT_EQ(run(second).output, inode + "\n");
}

TEST_F(SpawnTest, TheChildDiesWithItsParentWhereAsked) {
  for (const bool die : {true, false}) {
    auto out = test::make_pipe();
    auto hold = test::make_pipe();
    const pid_t parent = ::fork();
    if (parent == 0) {
      auto spec = shell("echo $$; read line || true");
      spec.fds = {{0, hold.read.get()}, {1, out.write.get()}};
      spec.die_with_parent = die;
      const auto pid = spawn(spec);
      char c = 0;
      (void)!::read(hold.read.get(), &c, pid ? 0 : 1);
      ::pause();
      ::_exit(1);
    }
    const pid_t pid = std::stoi(test::read_line(out.read.get()));
    ASSERT_EQ(::kill(parent, SIGKILL), 0);
    ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
    if (die) {
      EXPECT_TRUE(test::wait_gone(pid));
    } else {
      EXPECT_TRUE(test::process_runs(pid));
      hold.write.reset();  // end of input: it ends by itself
      EXPECT_TRUE(test::wait_gone(pid));
    }
  }
}

TEST(ExitStatus, DescribesItselfAsShellsCount) {
  EXPECT_EQ((ExitStatus{3, 0}.describe()), "exited with code 3");
  EXPECT_EQ((ExitStatus{137, 9}.describe()), "was killed by signal 9 (Killed)");
  EXPECT_EQ(exit_status(3 << 8).code, 3);
  EXPECT_EQ(exit_status(SIGSEGV).code, 139);
  EXPECT_EQ(exit_status(SIGSEGV).signal, SIGSEGV);
}

class ChildTest : public SpawnTest {
 protected:
  void TearDown() override {
    child_.reset();
    SpawnTest::TearDown();
  }

  /** Starts a shell that prints its own and its child's process id, and waits. */
  void start_family(const std::string& script) {
    auto out = test::make_pipe();
    auto spec = shell(script);
    spec.fds = {{0, hold_.read.get()}, {1, out.write.get()}};
    const auto pid = spawn(spec);
    ASSERT_TRUE(pid);
    child_ = std::make_unique<Child>(loop_, *pid, "test", [this](const ExitStatus& status) { status_ = status; });
    leader_ = std::stoi(test::read_line(out.read.get()));
    grandchild_ = std::stoi(test::read_line(out.read.get()));
    ASSERT_EQ(leader_, *pid);
    ASSERT_TRUE(test::process_runs(grandchild_));
  }

  test::Pipe hold_ = test::make_pipe();
  std::optional<ExitStatus> status_;
  pid_t leader_ = 0;
  pid_t grandchild_ = 0;
  std::unique_ptr<Child> child_;
};

constexpr const char* family = "echo $$; sleep 1000 & echo $!; wait";

TEST_F(ChildTest, ReportsASignal) {
  start_family(family);
  EXPECT_TRUE(child_->running());
  child_->kill_group(SIGTERM);
  ASSERT_TRUE(test::run_until(loop_, [&] { return status_.has_value(); }));
  EXPECT_EQ(status_->signal, SIGTERM);
  EXPECT_EQ(status_->code, 128 + SIGTERM);
  EXPECT_FALSE(child_->running());
  child_->kill_group(SIGKILL);  // the number may be anybody's by now
}

TEST_F(ChildTest, TheGroupDiesWithItsLeader) {
  start_family("echo $$; trap '' TERM; sleep 1000 & echo $!; trap - TERM; read line; exit 5");
  hold_.write.reset();
  ASSERT_TRUE(test::run_until(loop_, [&] { return status_.has_value(); }));
  EXPECT_EQ(status_->code, 5);
  EXPECT_TRUE(test::wait_gone(grandchild_));
}

TEST_F(ChildTest, DestructionKillsTheGroupAndLeavesNoZombie) {
  start_family("trap '' TERM HUP INT; echo $$; sleep 1000 & echo $!; wait");
  child_.reset();
  EXPECT_TRUE(test::wait_gone(leader_));
  EXPECT_TRUE(test::wait_gone(grandchild_));
  ASSERT_TRUE(test::run_until(loop_, [&] { return test::children().empty(); }));
  EXPECT_FALSE(status_) << "no callback after the owner is gone";
}

TEST_F(ChildTest, MayBeDestroyedInItsCallback) {
  const auto pid = spawn(shell("exit 4"));
  ASSERT_TRUE(pid);
  bool called = false;
  const auto alive = std::make_shared<int>(1);
  child_ = std::make_unique<Child>(loop_, *pid, "test", [&, alive](const ExitStatus& status) {
    child_.reset();
    EXPECT_EQ(status.code, 4);
    EXPECT_EQ(*alive, 1);
    called = true;
  });
  ASSERT_TRUE(test::run_until(loop_, [&] { return called; }));
  EXPECT_TRUE(test::children().empty());
}

TEST_F(ChildTest, OneThatCannotBeWatchedIsKilledAndReported) {
  const auto pid = spawn(shell("exec sleep 1000"));
  ASSERT_TRUE(pid);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const Child child(loop_, *pid, "test", [this](const ExitStatus& status) { status_ = status; });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(status_) << "never from inside the constructor";
  ASSERT_TRUE(test::run_until(loop_, [&] { return status_.has_value(); }));
  EXPECT_EQ(status_->signal, SIGKILL);
  EXPECT_TRUE(test::children().empty());
}

class StartTest : public SpawnTest {
 protected:
  Result<pid_t> start(const SpawnSpec& spec, std::chrono::milliseconds deadline = 30s) {
    std::optional<Result<pid_t>> answer;
    const Start start(loop_, spec, deadline, [&](Result<pid_t> pid) { answer = std::move(pid); });
    EXPECT_FALSE(answer) << "answered from inside the call";
    EXPECT_TRUE(test::run_until(loop_, [&] { return answer.has_value(); }));
    return answer.value_or(Error{Errc::internal, "no answer"});
  }

  test::TempDir folder_;
};

TEST_F(StartTest, AnswersWithAProcessThatIsTheProgram) {
  auto pipe = test::make_pipe();
  auto spec = shell("echo $$; read line");
  spec.fds = {{1, pipe.write.get()}};
  const auto pid = start(spec);
  ASSERT_TRUE(pid) << pid.error().message;
  EXPECT_EQ(test::read_line(pipe.read.get()), std::to_string(*pid));
  const Child child(loop_, *pid, "test", [](const ExitStatus&) {});
}

TEST_F(StartTest, TellsTheFailedStep) {
  SpawnSpec spec;
  EXPECT_EQ(start(spec).error().code, Errc::invalid_argument);
  spec.argv = {"/no/such/program"};
  const auto failed = start(spec);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::not_found);
  EXPECT_NE(failed.error().message.find("/no/such/program: execve"), std::string::npos) << failed.error().message;
}

TEST_F(StartTest, AProgramThatHangsHoldsNobodyUp) {
  SpawnSpec spec;
  std::optional<Result<pid_t>> answer;
  std::optional<test::HangingProgram> program(folder_);
  spec.argv = {program->path()};
  const Start hanging(loop_, spec, test::scaled(30s), [&](Result<pid_t> pid) { answer = std::move(pid); });
  const auto other = start(shell("exit 0"));  // the loop turns
  ASSERT_TRUE(other) << other.error().message;
  const Child child(loop_, *other, "other", [](const ExitStatus&) {});
  EXPECT_FALSE(answer);
  program.reset();
  ASSERT_TRUE(test::run_until(loop_, [&] { return answer.has_value(); }));
  ASSERT_TRUE(*answer) << answer->error().message;
  const Child late(loop_, **answer, "late", [](const ExitStatus&) {});
}

TEST_F(StartTest, AProgramThatHangsForTooLongIsGivenUp) {
  const test::HangingProgram program(folder_);
  SpawnSpec spec;
  spec.argv = {program.path()};
  const auto late = start(spec, 50ms);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::timed_out);
  EXPECT_NE(late.error().message.find(program.path()), std::string::npos);
}

TEST_F(StartTest, DestructionEndsIt) {
  const test::HangingProgram program(folder_);
  SpawnSpec spec;
  spec.argv = {program.path()};
  {
    const Start start(loop_, spec, 30s, [](const Result<pid_t>&) { ADD_FAILURE() << "answered"; });
    EXPECT_EQ(test::children().size(), 1U);
  }
  EXPECT_TRUE(test::run_until(loop_, [] { return test::children().empty(); }));
}

}  // namespace
}  // namespace hal::process
