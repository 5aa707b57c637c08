#include "host/notify.hpp"
#include "host/unit_launcher.hpp"
#include "install/installer.hpp"
#include "server/child_launcher.hpp"
#include "support/component.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hal::install {
namespace {

using namespace test;
using testing::HasSubstr;

enum class Kind { child, unit };

/** npm and pip themselves, by both launchers, as a user who owns nothing. */
class InstallerTest : public ::testing::TestWithParam<Kind> {
 protected:
  static constexpr auto deadline = std::chrono::minutes(5);
  static constexpr const char* user = "nobody";

  void SetUp() override {
    if (::geteuid() != 0 || (GetParam() == Kind::unit && !host::systemd_booted())) {
      GTEST_SKIP() << "needs root, and for units systemd as PID 1";
    }
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    std::unique_ptr<server::Launcher> launcher;
    if (GetParam() == Kind::unit) {
      launcher = std::make_unique<host::UnitLauncher>(loop_, host::UnitLauncher::Options{.user = user});
      bool asked = false;
      launcher->survivors([&asked](const Result<std::vector<server::Survivor>>&) { asked = true; });
      ASSERT_TRUE(run_until(loop_, [&asked] { return asked; }));  // the bus is there
    } else {
      launcher = std::make_unique<server::ChildLauncher>(loop_, user);
    }
    installer_ = std::make_unique<Installer>(loop_, std::move(launcher), root(), user);
  }

  [[nodiscard]] std::string root() const { return folder_ / "package"; }

  [[nodiscard]] std::vector<std::string> generations() const {
    std::vector<std::string> found;
    std::error_code error;
    for (const auto& server : std::filesystem::directory_iterator(root(), error)) {
      for (const auto& generation : std::filesystem::directory_iterator(server.path(), error)) {
        found.push_back(generation.path().string());
      }
    }
    return found;
  }

  std::unique_ptr<Installer::Run> begin(const std::string& package, const std::string& bin = "") {
    result_.reset();
    return installer_->install(
        {"s", *parse_package(package), bin, false},
        [this](double, std::string message) { messages_.push_back(std::move(message)); },
        [this](Result<Installed> installed) { result_.emplace(std::move(installed)); });
  }

  Result<Installed> finished() {
    EXPECT_TRUE(run_until(
        loop_, [this] { return result_.has_value(); }, deadline));
    return result_ ? *result_ : Error{Errc::internal, "no answer"};
  }

  TempDir folder_;
  event::Loop loop_;
  std::unique_ptr<Installer> installer_;
  std::optional<Result<Installed>> result_;
  std::vector<std::string> messages_;
};

TEST_P(InstallerTest, installs_a_package_that_is_roots_then) {
  auto run = begin("npm:semver@7.6.3");
  EXPECT_TRUE(installer_->busy("s"));
  const auto installed = finished();
  ASSERT_TRUE(installed) << installed.error().message;
  EXPECT_EQ(installed->package.text(), "npm:semver@7.6.3");
  EXPECT_EQ(generations(), std::vector<std::string>{installed->folder});
  struct stat status {};
  ASSERT_EQ(::stat(installed->program.c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 0U);
  EXPECT_EQ(status.st_mode & 07777U, 0755U);
  EXPECT_FALSE(std::filesystem::exists(installed->folder + "/.scratch"));
  EXPECT_FALSE(messages_.empty());

  EXPECT_EQ(installer_->generations_in(fmt::format(R"({{"command":"{}","args":["{}"]}})", installed->program, root())),
            std::set<std::string>{installed->folder});
  installer_->sweep({installed->folder});
  run.reset();
  EXPECT_FALSE(installer_->busy("s"));
  installer_->sweep({});
  EXPECT_TRUE(run_until(loop_, [this] { return generations().empty(); }));
}

TEST_P(InstallerTest, tells_what_went_wrong_and_leaves_nothing) {
  const auto run = begin("pypi:no-such-mcp-server-at-all==1.0");
  const auto installed = finished();
  ASSERT_FALSE(installed);
  EXPECT_EQ(installed.error().code, Errc::not_found);
  EXPECT_THAT(installed.error().message, HasSubstr("pypi:no-such-mcp-server-at-all==1.0 does not exist"));
  EXPECT_FALSE(installer_->busy("s"));
  EXPECT_TRUE(run_until(loop_, [this] { return generations().empty(); }));
}

TEST_P(InstallerTest, gives_up_in_the_middle) {
  auto run = begin("pypi:mcp-server-time");
  ASSERT_TRUE(run_until(
      loop_, [this] { return messages_.size() == 2; }, deadline))
      << "pip begins";
  run.reset();
  EXPECT_TRUE(run_until(loop_, [this] { return !installer_->busy("s") && generations().empty(); }));
  EXPECT_FALSE(result_);
}

INSTANTIATE_TEST_SUITE_P(Child, InstallerTest, ::testing::Values(Kind::child));
INSTANTIATE_TEST_SUITE_P(Unit, InstallerTest, ::testing::Values(Kind::unit));

}  // namespace
}  // namespace hal::install
