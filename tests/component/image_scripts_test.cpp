#include "host/notify.hpp"
#include "host/unit_launcher.hpp"
#include "image/scripts.hpp"
#include "server/child_launcher.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hal::image {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::Not;

enum class Kind { child, unit };

/** Scripts that end, fail and hang as the real ones may, by both launchers. */
class ScriptsTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::unit && !host::systemd_booted()) {
      GTEST_SKIP() << "needs systemd as PID 1";
    }
    std::unique_ptr<server::Launcher> launcher;
    if (GetParam() == Kind::unit) {
      launcher = std::make_unique<host::UnitLauncher>(
          loop_, host::UnitLauncher::Options{.user = "root", .sandbox = host::Sandbox::builder});
      bool asked = false;
      launcher->survivors([&asked](const Result<std::vector<server::Survivor>>&) { asked = true; });
      ASSERT_TRUE(run_until(loop_, [&asked] { return asked; }));  // the bus is there
    } else {
      launcher = std::make_unique<server::ChildLauncher>(loop_, "root");
    }
    std::filesystem::create_directory(folder_ / "docker");
    scripts_ = std::make_unique<Scripts>(
        loop_, std::move(launcher),
        Scripts::Options{folder_ / "docker", folder_ / "cache", "/run/no-engine.sock", "1.2"});
  }

  void write(const std::string& name, const std::string& text) {
    const auto path = folder_ / "docker/" + name;
    std::ofstream(path) << "#!/bin/sh\n" << text;
    ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  }

  [[nodiscard]] auto on_progress() {
    return [this](double fraction, std::string message) { told_ += fmt::format("{:.2f} {};", fraction, message); };
  }
  [[nodiscard]] auto on_done() {
    return [this](const Result<void>& result) { result_ = result; };
  }
  Result<void> finished() {
    EXPECT_TRUE(run_until(
        loop_, [this] { return result_.has_value(); }, 30s));
    EXPECT_EQ(scripts_->running(), 0U);
    return result_ ? *result_ : Error{Errc::internal, "no answer"};
  }

  TempDir folder_;
  event::Loop loop_;
  std::unique_ptr<Scripts> scripts_;
  std::string told_;
  std::optional<Result<void>> result_;
};

TEST_P(ScriptsTest, ABuildTellsHowFarItIs) {
  EXPECT_FALSE(scripts_->installed());
  write("build.sh", "echo '@10 begins'; echo \"$DOCKER_HOST $*\" >\"$HOME/asked\"; echo '@60 goes on'; echo built");
  EXPECT_TRUE(scripts_->installed());
  const auto run = scripts_->build({"parent", "worker-node"}, true, on_progress(), on_done());
  EXPECT_FALSE(result_) << "answered from inside the call";
  const auto result = finished();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_THAT(told_, HasSubstr("0.60 goes on;"));
  std::string asked;
  std::getline(std::ifstream(folder_ / "cache/asked"), asked);
  EXPECT_EQ(asked, fmt::format("unix:///run/no-engine.sock --progress --cache {} --version 1.2 --only parent --only "
                               "worker-node --refresh",
                               folder_ / "cache"));
}

TEST_P(ScriptsTest, AFailureSaysWhatTheScriptSaidLast) {
  write("build.sh",
        "for i in 1 2 3 4 5 6 7 8; do echo \"line $i\"; done; echo '@50 fetches'; echo 'build.sh: no' >&2; exit 1");
  const auto run = scripts_->build({}, false, on_progress(), on_done());
  const auto result = finished();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("line 8; build.sh: no"));
  EXPECT_THAT(result.error().message, Not(HasSubstr("line 2")));
}

TEST_P(ScriptsTest, ABuildThatIsGivenUpEndsWithAllItRuns) {
  write("build.sh", "trap 'kill $!; echo >\"$HOME/tidied\"; exit 1' TERM; sleep 1000 & echo '@1 hangs'; wait");
  auto run = scripts_->build({}, false, on_progress(), on_done());
  ASSERT_TRUE(run_until(loop_, [this] { return !told_.empty(); }));
  run.reset();
  ASSERT_TRUE(run_until(
      loop_, [this] { return scripts_->running() == 0; }, 30s));
  EXPECT_FALSE(result_) << "answered after its handle was gone";
  EXPECT_TRUE(std::filesystem::exists(folder_ / "cache/tidied"));
}

TEST_P(ScriptsTest, OneThatIsGivenUpAtOnceIsNotHeardOfAgain) {
  write("build.sh", "sleep 1000");
  auto run = scripts_->build({}, false, on_progress(), on_done());
  run.reset();
  ASSERT_TRUE(run_until(
      loop_, [this] { return scripts_->running() == 0; }, 30s));
  EXPECT_FALSE(result_);
}

TEST_P(ScriptsTest, AnArchiveIsTheStdinOfWhatLoadsIt) {
  write("load.py", "[ \"$1\" = --progress ] && read -r line && echo \"@70 $line\"");
  std::ofstream(folder_ / "archive") << "of images\n";
  UniqueFd archive(::open((folder_ / "archive").c_str(), O_RDONLY | O_CLOEXEC));
  const auto run = scripts_->load(std::move(archive), on_progress(), on_done());
  const auto result = finished();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(told_, "0.70 of images;");
}

TEST_P(ScriptsTest, ListsWhatThereIs) {
  std::optional<Result<Generations>> listed;
  const auto on_list = [&listed](Result<Generations> generations) { listed = std::move(generations); };
  write("build.sh", "echo parent 1a; echo worker-node 2b");
  const auto run = scripts_->list(on_list);
  ASSERT_TRUE(run_until(loop_, [&] { return listed.has_value(); }));
  ASSERT_TRUE(*listed) << listed->error().message;
  EXPECT_EQ(**listed, (Generations{{"parent", "1a"}, {"worker-node", "2b"}}));
  listed.reset();
  write("build.sh", "echo this is no list");
  const auto again = scripts_->list(on_list);
  ASSERT_TRUE(run_until(loop_, [&] { return listed.has_value(); }));
  EXPECT_FALSE(*listed);
}

TEST_P(ScriptsTest, WithoutScriptsItSaysSo) {
  const auto run = scripts_->build({}, false, on_progress(), on_done());
  const auto result = finished();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("build.sh"));
}

/** What apt and tar need, and no more. */
TEST_P(ScriptsTest, TheUnitIsRootOfItsOwnFolderOnly) {
  if (GetParam() != Kind::unit) {
    GTEST_SKIP() << "a child has the rights of the daemon";
  }
  write("build.sh",
        "cd \"$HOME\" && touch a && chown 33:33 a && chmod 6755 a && setpriv --reuid=65534 --regid=65534 "
        "--clear-groups id -u && "
        "! touch /etc/x && ! mount -t tmpfs none . && ! mknod n c 1 3 && chroot / true && exit 0; exit 1");
  const auto run = scripts_->build({}, false, on_progress(), on_done());
  const auto result = finished();
  EXPECT_TRUE(result) << result.error().message;
}

INSTANTIATE_TEST_SUITE_P(Child, ScriptsTest, ::testing::Values(Kind::child));
INSTANTIATE_TEST_SUITE_P(Unit, ScriptsTest, ::testing::Values(Kind::unit));

}  // namespace
}  // namespace hal::image
