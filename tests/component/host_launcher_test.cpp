#include "base/text.hpp"
#include "host/net_socket.hpp"
#include "host/notify.hpp"
#include "host/unit_launcher.hpp"
#include "server/child_launcher.hpp"
#include "server/stdio.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hal::host {
namespace {

using namespace test;
using server::InstanceExit;
using server::Launched;
using server::Launcher;
using server::LaunchSpec;
using server::Network;
using server::ServerConfig;
using server::Survivor;

enum class Kind { child, unit };

/** The same behaviour is asked of both launchers. Units need systemd as PID 1 and the servers' account. */
class LauncherTest : public ::testing::TestWithParam<Kind>, private Launcher::Listener {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::unit && (!systemd_booted() || ::geteuid() != 0)) {
      GTEST_SKIP() << "needs systemd as PID 1, and root";
    }
    if (GetParam() == Kind::unit) {
      ASSERT_TRUE(server::find_account("hal9000-mcp")) << "the account hal9000-mcp is missing";
    }
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    make_launcher();
  }

  void make_launcher() {
    launcher_.reset();
    if (GetParam() == Kind::unit) {
      launcher_ = std::make_unique<UnitLauncher>(loop_);
    } else {
      launcher_ = std::make_unique<server::ChildLauncher>(loop_);
    }
    launcher_->set_listener(this);
    survivors_.reset();
    launcher_->survivors([this](Result<std::vector<Survivor>> found) {
      ASSERT_TRUE(found) << found.error().message;
      survivors_ = *std::move(found);
    });
    ASSERT_TRUE(run_until(loop_, [this] { return survivors_.has_value(); }));
  }

  [[nodiscard]] ServerConfig shell(std::string script, std::vector<std::string> words = {}) const {
    ServerConfig config;
    config.name = "test." + std::to_string(::getpid());
    config.argv = {"sh", "-c", std::move(script), "sh"};
    config.argv.insert(config.argv.end(), words.begin(), words.end());
    config.state_directory = folder_ / "state";
    config.stop_timeout = 300ms;
    return config;
  }

  Result<Launched> start(const ServerConfig& config, int network = -1) {
    id_ = InstanceId{text::random_u64()};
    std::optional<Result<Launched>> result;
    launcher_->start({id_, config, network}, [&](Result<Launched> launched) { result.emplace(std::move(launched)); });
    EXPECT_FALSE(result) << "answered from inside the call";
    EXPECT_TRUE(run_until(loop_, [&] { return result.has_value(); }));
    return result ? std::move(*result) : Error{Errc::internal, "no answer"};
  }

  /** What a script that ends by itself prints. */
  std::string output_of(const ServerConfig& config, int network = -1) {
    auto launched = start(config, network);
    if (!launched) {
      ADD_FAILURE() << launched.error().message;
      return {};
    }
    EXPECT_TRUE(wait_exit());  // the loop must turn, or nobody reads stderr; what is printed fits in the pipe
    return read_all(launched->from_server.get());
  }

  [[nodiscard]] bool wait_exit() {
    return run_until(loop_, [this] { return exits_.contains(id_); });
  }

  void on_instance_exit(InstanceId instance, const InstanceExit& exit) override {
    EXPECT_FALSE(exits_.contains(instance)) << "told twice";
    exits_[instance] = exit;
  }

  event::Loop loop_;
  TempDir folder_;
  std::unique_ptr<Launcher> launcher_;
  std::optional<std::vector<Survivor>> survivors_;
  std::map<InstanceId, InstanceExit> exits_;
  InstanceId id_;
};

TEST_P(LauncherTest, a_server_speaks_over_its_stdio_and_ends_with_its_stdin) {
  auto launched = start(shell("exec cat"));
  ASSERT_TRUE(launched) << launched.error().message;
  EXPECT_TRUE(process_runs(launched->main_pid));
  EXPECT_EQ(launched->unit.empty(), GetParam() == Kind::child);
  ASSERT_EQ(::write(launched->to_server.get(), "hello\n", 6), 6);
  EXPECT_EQ(read_line(launched->from_server.get()), "hello");
  launched->to_server.reset();
  ASSERT_TRUE(wait_exit());
  EXPECT_TRUE(exits_[id_].clean) << exits_[id_].reason;
  EXPECT_EQ(read_all(launched->from_server.get()), "");
}

TEST_P(LauncherTest, what_stands_for_a_remote_server_reads_its_settings_before_anything_else) {
  auto config = shell(R"(IFS= read -r line; printf '%s\n' "$line"; tr '\0' '\n' < /proc/self/environ; id -un; cat)");
  config.remote = server::RemoteServer{.url = "https://x.org/", .credentials_directory = folder_.path()};
  config.remote->headers = {{"A", "credential:token"}};
  folder_.write("token", "secret");
  auto launched = start(config);
  ASSERT_TRUE(launched) << launched.error().message;
  ASSERT_EQ(::write(launched->to_server.get(), "after\n", 6), 6);
  launched->to_server.reset();
  ASSERT_TRUE(wait_exit());
  const auto said = read_all(launched->from_server.get());
  EXPECT_TRUE(said.starts_with(R"({"headers":{"A":"secret"})")) << said;
  EXPECT_TRUE(said.ends_with("after\n")) << said;
  EXPECT_EQ(said.find("secret", said.find('\n')), std::string::npos) << said;
  if (server::find_account("hal9000-remote")) {
    EXPECT_NE(said.find("\nhal9000-remote\n"), std::string::npos) << said;
  }
}

TEST_P(LauncherTest, a_remote_server_without_its_credential_is_not_started) {
  auto config = shell("cat");
  config.remote = server::RemoteServer{.url = "https://x.org/"};
  config.remote->headers = {{"A", "credential:token"}};
  const auto launched = start(config);
  ASSERT_FALSE(launched);
  EXPECT_NE(launched.error().message.find("credential token"), std::string::npos) << launched.error().message;
}

// Both wait for the end of their stdin: one that fails at once may count as not started.
TEST_P(LauncherTest, tells_the_exit_code) {
  auto launched = start(shell("read line; exit 3"));
  ASSERT_TRUE(launched) << launched.error().message;
  launched->to_server.reset();
  ASSERT_TRUE(wait_exit());
  EXPECT_FALSE(exits_[id_].clean);
  EXPECT_TRUE(exits_[id_].reason.starts_with("exited with code 3")) << exits_[id_].reason;
}

TEST_P(LauncherTest, tells_the_signal) {
  auto launched = start(shell("read line; kill -SEGV $$"));
  ASSERT_TRUE(launched) << launched.error().message;
  launched->to_server.reset();
  ASSERT_TRUE(wait_exit());
  EXPECT_TRUE(exits_[id_].reason.starts_with("was killed by signal 11")) << exits_[id_].reason;
}

TEST_P(LauncherTest, a_missing_program_is_not_found_and_leaves_nothing) {
  auto config = shell("");
  for (const auto* program : {"no-such-program", "/no/such/program", "./relative"}) {
    config.argv = {program};
    const auto launched = start(config);
    ASSERT_FALSE(launched) << program;
    EXPECT_EQ(launched.error().code, Errc::not_found) << launched.error().message;
    EXPECT_NE(launched.error().message.find(program), std::string::npos) << launched.error().message;
  }
  config.argv = {folder_.write("no-format",
                               "\x7f"
                               "ELF junk",
                               0755)};
  EXPECT_FALSE(start(config));
  run_ready(loop_);
  EXPECT_TRUE(exits_.empty());
}

TEST_P(LauncherTest, a_program_that_hangs_holds_nobody_up_and_can_be_stopped) {
  if (GetParam() == Kind::unit) {
    GTEST_SKIP() << "the service manager starts it";
  }
  const auto of_other_tests = children();
  const HangingProgram program(folder_);
  auto config = shell("");
  config.argv = {program.path()};
  const InstanceId hanging{text::random_u64()};
  std::optional<Error> refused;
  launcher_->start({hanging, config, -1}, [&](const Result<Launched>& launched) {
    ASSERT_FALSE(launched);
    refused = launched.error();
  });
  auto other = start(shell("exec cat"));
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_FALSE(refused);
  launcher_->stop(hanging, 300ms);
  ASSERT_TRUE(run_until(loop_, [&] { return refused.has_value(); }));
  EXPECT_EQ(refused->code, Errc::cancelled);
  other->to_server.reset();
  ASSERT_TRUE(wait_exit());
  EXPECT_TRUE(run_until(loop_, [&] { return children() == of_other_tests; }));
  EXPECT_FALSE(exits_.contains(hanging));
}

TEST_P(LauncherTest, words_arrive_as_they_are) {
  EXPECT_EQ(output_of(shell("printf '<%s>' \"$@\"", {"a b", "$HOME", "${HOME}", "%n %%", "", "\\x41", "q\"'`"})),
            "<a b><$HOME><${HOME}><%n %%><><\\x41><q\"'`>");
}

TEST_P(LauncherTest, the_environment_is_the_configured_one_and_nothing_of_ours) {
  ASSERT_EQ(::setenv("HAL_TEST_LEAK", "secret", 1), 0);
  auto config = shell(R"(printf '%s|' "$A" "$B" "$C" "$D" "$HAL_TEST_LEAK" "$HOME" "$STATE_DIRECTORY"; pwd)");
  config.env = {
      {"A", "plain"}, {"B", "with \"quotes\" and $HOME and `x` and \\ and 'y'"}, {"C", " two\nlines "}, {"D", "#;=äé"}};
  const auto state = config.state_directory;
  EXPECT_EQ(output_of(config), "plain|with \"quotes\" and $HOME and `x` and \\ and 'y'| two\nlines |#;=äé||" + state +
                                   "|" + state + "|" + state + "\n");
}

TEST_P(LauncherTest, runs_as_the_servers_account_with_a_folder_of_its_own) {
  if (!server::find_account("hal9000-mcp")) {
    GTEST_SKIP() << "no account hal9000-mcp";
  }
  EXPECT_EQ(output_of(shell("id -un; id -Gn; touch file && echo made; stat -c %U:%a .")),
            "hal9000-mcp\nhal9000-mcp\nmade\nhal9000-mcp:700\n");
}

TEST_P(LauncherTest, stderr_is_no_part_of_the_messages) {
  EXPECT_EQ(output_of(shell("echo to-stderr >&2; echo to-stdout; echo again >&2; exit 1")), "to-stdout\n");
  if (GetParam() == Kind::child) {
    EXPECT_EQ(exits_[id_].reason, "exited with code 1; last stderr: to-stderr | again");
  }
}

TEST_P(LauncherTest, a_flood_on_stderr_does_not_stop_a_server) {
  // More than a pipe holds, in lines over every limit.
  EXPECT_EQ(output_of(shell("head -c 3000000 /dev/zero | tr '\\0' x >&2; seq 20000 >&2; echo done")), "done\n");
}

TEST_P(LauncherTest, a_server_that_ignores_everything_is_killed_with_its_children) {
  auto launched =
      start(shell("trap '' TERM INT HUP; sh -c 'trap \"\" TERM; echo $$; sleep 1000' & "
                  "while :; do sleep 1000; done"));
  ASSERT_TRUE(launched) << launched.error().message;
  const auto grandchild = text::to_number<pid_t>(read_line(launched->from_server.get()));
  ASSERT_TRUE(grandchild && process_runs(*grandchild));
  launched->to_server.reset();
  launcher_->stop(id_, 100ms);
  ASSERT_TRUE(wait_exit());
  EXPECT_TRUE(exits_[id_].reason.starts_with("was killed by signal 9")) << exits_[id_].reason;
  EXPECT_TRUE(wait_gone(*grandchild));
  EXPECT_TRUE(wait_gone(launched->main_pid));
}

TEST_P(LauncherTest, a_stop_gives_time_to_end_and_then_asks) {
  auto config = shell("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done");
  config.stop_timeout = 10s;
  auto launched = start(config);
  ASSERT_TRUE(launched) << launched.error().message;
  ASSERT_EQ(read_line(launched->from_server.get()), "up");
  launcher_->stop(id_, 2s);
  ASSERT_TRUE(wait_exit());
  EXPECT_EQ(read_line(launched->from_server.get()), "asked");
  EXPECT_TRUE(exits_[id_].clean) << exits_[id_].reason;
}

TEST_P(LauncherTest, a_stop_right_after_the_start_leaves_nothing) {
  const auto config = shell("exec cat");
  id_ = InstanceId{text::random_u64()};
  std::optional<Result<Launched>> result;
  launcher_->start({id_, config, -1}, [&](Result<Launched> launched) { result.emplace(std::move(launched)); });
  launcher_->stop(id_, 50ms);
  ASSERT_TRUE(run_until(loop_, [&] { return result.has_value(); }));
  if (*result) {
    EXPECT_TRUE(wait_exit());
  } else {
    EXPECT_EQ(result->error().code, Errc::cancelled) << result->error().message;
  }
}

TEST_P(LauncherTest, network_none_has_nothing_in_it) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  auto config = shell("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '");
  config.network = Network::none;
  EXPECT_EQ(output_of(config), "lo\n");
}

TEST_P(LauncherTest, network_parent_is_the_given_one) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const auto ready = make_pipe();
  const pid_t holder = ::fork();
  if (holder == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)!::write(ready.write.get(), ::unshare(CLONE_NEWNET) == 0 ? "y" : "n", 1);
    for (;;) {
      ::pause();
    }
  }
  char answer = 'n';
  ASSERT_EQ(::read(ready.read.get(), &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  auto network = open_network_namespace(holder);
  ASSERT_TRUE(network);
  struct stat status {};
  ASSERT_EQ(::fstat(network->get(), &status), 0);
  auto config = shell("stat -L -c %i /proc/self/ns/net");
  config.network = Network::parent;
  EXPECT_EQ(output_of(config, network->get()), fmt::format("{}\n", status.st_ino));
  ::kill(holder, SIGKILL);
  (void)::waitpid(holder, nullptr, 0);
}

TEST_P(LauncherTest, many_at_once) {
  constexpr std::size_t count = 8;
  std::vector<Launched> running;
  std::vector<InstanceId> ids;
  std::size_t answers = 0;
  for (std::size_t i = 0; i < count; ++i) {
    ids.push_back(InstanceId{text::random_u64()});
    launcher_->start({ids.back(), shell("exec cat"), -1}, [&](Result<Launched> launched) {
      ++answers;
      ASSERT_TRUE(launched) << launched.error().message;
      running.push_back(*std::move(launched));
    });
  }
  ASSERT_TRUE(run_until(
      loop_, [&] { return answers == count; }, 30s));
  ASSERT_EQ(running.size(), count);
  running.clear();
  EXPECT_TRUE(run_until(
      loop_, [&] { return exits_.size() == count; }, 30s));
}

TEST_P(LauncherTest, nothing_is_left_open_after_a_server) {
  ASSERT_EQ(output_of(shell("echo x")), "x\n");
  run_ready(loop_);
  const auto before = open_fds();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(output_of(shell("echo x")), "x\n");
  }
  run_ready(loop_);
  EXPECT_EQ(open_fds(), before);
}

TEST_P(LauncherTest, units_have_a_sandbox_and_limits) {
  if (GetParam() != Kind::unit) {
    GTEST_SKIP() << "of units only";
  }
  EXPECT_EQ(
      output_of(shell("touch /usr/x 2>/dev/null || echo read-only; ls /home /root 2>/dev/null | wc -l; "
                      "grep CapBnd /proc/self/status | tr -d '\\t'; grep NoNewPrivs /proc/self/status | tr -d '\\t'; "
                      "grep -c mcp.slice/hal9000-mcp-test /proc/self/cgroup")),
      "read-only\n0\nCapBnd:0000000000000000\nNoNewPrivs:1\n1\n");
}

TEST_P(LauncherTest, a_unit_over_its_memory_is_ended_and_says_so) {
  if (GetParam() != Kind::unit) {
    GTEST_SKIP() << "of units only";
  }
  if (read_file("/sys/fs/cgroup/cgroup.controllers").find("memory") == std::string::npos) {
    GTEST_SKIP() << "systemd has no memory controller here";
  }
  auto config = shell("head -c 200000000 /dev/zero | tail");
  config.memory_max = 32U << 20;
  ASSERT_EQ(output_of(config), "");
  EXPECT_EQ(exits_[id_].reason, "was killed for using more than its 32 MiB of memory");
}

TEST_P(LauncherTest, secrets_of_the_environment_are_no_properties) {
  if (GetParam() != Kind::unit) {
    GTEST_SKIP() << "of units only";
  }
  auto config = shell("exec cat");
  config.env = {{"API_KEY", "very-secret"}};
  auto launched = start(config);
  ASSERT_TRUE(launched) << launched.error().message;
  const auto file = folder_ / "shown";
  ASSERT_EQ(std::system(("systemctl show --all " + launched->unit + " > " + file).c_str()), 0);
  const auto shown = read_file(file);
  EXPECT_NE(shown.find("StandardError=journal"), std::string::npos);
  EXPECT_EQ(shown.find("very-secret"), std::string::npos);
  launched->to_server.reset();
  EXPECT_TRUE(wait_exit());
}

TEST_P(LauncherTest, stderr_of_a_unit_is_in_the_journal_under_its_name) {
  if (GetParam() != Kind::unit) {
    GTEST_SKIP() << "of units only";
  }
  const auto config = shell("echo a-word-for-the-journal >&2");
  ASSERT_EQ(output_of(config), "");
  const auto file = folder_ / "journal";
  ASSERT_EQ(std::system(("journalctl --sync; journalctl -o cat HAL9000_SERVER=" + config.name + " > " + file).c_str()),
            0);
  EXPECT_NE(read_file(file).find("a-word-for-the-journal"), std::string::npos);
}

TEST_P(LauncherTest, units_outlive_the_daemon_and_are_found_again) {
  if (GetParam() != Kind::unit) {
    GTEST_SKIP() << "children do not";
  }
  const auto config = shell("exec cat");
  auto launched = start(config);
  ASSERT_TRUE(launched) << launched.error().message;
  make_launcher();
  ASSERT_EQ(survivors_->size(), 1U);
  const auto& survivor = survivors_->front();
  EXPECT_EQ(survivor.server, config.name);
  EXPECT_EQ(survivor.instance, id_);
  EXPECT_EQ(survivor.main_pid, launched->main_pid);
  EXPECT_EQ(survivor.unit, launched->unit);
  EXPECT_EQ(survivor.fingerprint, server::fingerprint(config));
  ASSERT_EQ(::write(launched->to_server.get(), "still\n", 6), 6);
  EXPECT_EQ(read_line(launched->from_server.get()), "still");
  launcher_->stop(id_, 10s);
  launched->to_server.reset();
  ASSERT_TRUE(wait_exit());
  EXPECT_TRUE(exits_[id_].clean) << exits_[id_].reason;
  make_launcher();
  EXPECT_TRUE(survivors_->empty());
}

TEST_P(LauncherTest, the_bus_may_come_back) {
  if (GetParam() != Kind::unit) {
    GTEST_SKIP() << "of units only";
  }
  auto launched = start(shell("exec cat"));
  ASSERT_TRUE(launched) << launched.error().message;
  ASSERT_EQ(std::system("systemctl kill --signal=KILL dbus.service"), 0);
  launched->to_server.reset();
  EXPECT_TRUE(wait_exit());
}

TEST_P(LauncherTest, children_end_with_the_launcher) {
  if (GetParam() != Kind::child) {
    GTEST_SKIP() << "units do not";
  }
  auto launched = start(shell("trap '' TERM; while :; do sleep 1000; done"));
  ASSERT_TRUE(launched) << launched.error().message;
  launcher_.reset();
  EXPECT_TRUE(wait_gone(launched->main_pid));
}

INSTANTIATE_TEST_SUITE_P(Child, LauncherTest, ::testing::Values(Kind::child));
INSTANTIATE_TEST_SUITE_P(Unit, LauncherTest, ::testing::Values(Kind::unit));

}  // namespace
}  // namespace hal::host
