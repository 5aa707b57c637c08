#include "component/init_support.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using init::RecordKind;

/** A worker with a connected daemon. */
class InitMain : public ::testing::Test {
 protected:
  explicit InitMain(const std::vector<std::string>& wrapper = {})
      : listener_(control_path(folder_)), init_(folder_, wrapper), peer_(listener_.accept()) {
    (void)expect(RecordKind::hello, 0);
  }

  Received expect(RecordKind kind, std::uint64_t id) {
    auto received = peer_.next();
    if (!received) {
      ADD_FAILURE() << "no record of kind " << static_cast<int>(kind) << "; log: " << init_.log();
      return {};
    }
    EXPECT_EQ(received->record.kind, kind);
    EXPECT_EQ(received->record.id.value, id);
    return std::move(*received);
  }

  pid_t start_main(const std::string& script) {
    EXPECT_TRUE(peer_.send(main_request(1, script)));
    return expect(RecordKind::started, 1).record.pid;
  }

  bool logged(const std::string& text) {
    return wait_for_file(folder_ / "log", [&](const std::string& log) { return log.find(text) != std::string::npos; });
  }

  /** A terminal attached to main's tmux, as hal9000d opens one for a client. */
  Received attach(std::uint64_t id) {
    auto request = terminal_request(id, "");
    request.argv = {"tmux", "-L", "main", "attach", "-t", "main"};
    request.env = {"PATH=/usr/bin:/bin", "TERM=xterm", "TMUX_TMPDIR=" + folder_.path()};
    EXPECT_TRUE(peer_.send(request));
    return expect(RecordKind::started, id);
  }

  TempDir folder_;
  InitListener listener_;
  InitProcess init_;
  InitPeer peer_;
};

TEST_F(InitMain, runs_in_tmux_and_its_code_becomes_the_workers) {
  auto request = main_request(1, "tty; stty size; echo bye; exit 9");
  request.rows = 30;
  request.columns = 90;
  ASSERT_TRUE(peer_.send(request));
  EXPECT_GT(expect(RecordKind::started, 1).record.pid, 0);
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, 9 << 8);
  EXPECT_EQ(init_.wait(), 9 << 8);
  const auto log = init_.log();
  EXPECT_NE(log.find("/dev/pts/"), std::string::npos) << log;
  EXPECT_NE(log.find(" 90\r\n"), std::string::npos) << log;
  EXPECT_NE(log.find("bye\r\n"), std::string::npos) << log;
  EXPECT_EQ(log.find("9000;"), std::string::npos) << "the end mark is not part of the log";
}

TEST_F(InitMain, no_output_is_lost_at_the_end) {
  (void)start_main("seq 1 30000; exit 0");
  EXPECT_EQ(init_.wait(20s), 0);
  std::string expected;
  for (int i = 1; i <= 30000; ++i) {
    expected += std::to_string(i) + "\r\n";
  }
  EXPECT_EQ(init_.log(), expected);
}

TEST_F(InitMain, has_exactly_the_given_environment_and_arguments) {
  auto request = main_request(1, "");
  const std::string big(60000, 'x');
  request.argv = {"sh", "-c", "env; pwd; echo ${#1} \"$2\"", "sh", big, "a;b #{pane_id} %H '$HOME' \""};
  request.cwd = "/usr";
  ASSERT_TRUE(peer_.send(request));
  (void)expect(RecordKind::started, 1);
  EXPECT_EQ(init_.wait(), 0);
  const auto log = init_.log();
  for (const char* line : {"PATH=/usr/bin:/bin\r\n", "HAL_TEST=yes\r\n", "TERM=", "PWD=/usr\r\n", "\n/usr\r\n",
                           "60000 a;b #{pane_id} %H '$HOME' \"\r\n"}) {
    EXPECT_NE(log.find(line), std::string::npos) << line << " in " << log;
  }
  for (const char* name : {"TMUX", "HOME", "SHELL", "HAL9000_INIT", "USER"}) {
    EXPECT_EQ(log.find(std::string(name) + "="), std::string::npos) << name << " in " << log;
  }
}

TEST_F(InitMain, any_number_of_terminals_can_attach) {
  (void)start_main("echo the-screen; read line; echo typed:$line; exit 4");
  ASSERT_TRUE(logged("the-screen"));
  auto first = attach(2);
  auto second = attach(3);
  ASSERT_TRUE(first.fd && second.fd);
  EXPECT_NE(read_until(first.fd.get(), "the-screen").find("the-screen"), std::string::npos);
  EXPECT_NE(read_until(second.fd.get(), "the-screen").find("the-screen"), std::string::npos);
  // One client goes; the other types.
  first.fd.reset();
  EXPECT_EQ(expect(RecordKind::exited, 2).record.kind, RecordKind::exited);
  ASSERT_EQ(::write(second.fd.get(), "ab\r", 3), 3);
  EXPECT_NE(read_until(second.fd.get(), "typed:ab").find("typed:ab"), std::string::npos);
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, 4 << 8);
  EXPECT_EQ(expect(RecordKind::exited, 3).record.status, 0) << "tmux says good-bye to who is attached";
  EXPECT_EQ(init_.wait(), 4 << 8);
}

TEST_F(InitMain, a_signal_that_ends_main_is_told) {
  (void)start_main("exec sleep 1000");
  ASSERT_TRUE(peer_.send(signal_request(1, SIGUSR1)));
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, SIGUSR1);
  EXPECT_EQ(init_.wait(), (128 + SIGUSR1) << 8);
}

TEST_F(InitMain, kill_ends_main_and_the_worker) {
  (void)start_main("exec sleep 1000");
  ASSERT_TRUE(peer_.send(signal_request(1, SIGKILL)));
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, SIGKILL);
  EXPECT_EQ(init_.wait(), (128 + SIGKILL) << 8);
}

TEST_F(InitMain, a_program_that_stops_itself_goes_on) {
  (void)start_main("kill -STOP $$; echo went on; exit 6");
  EXPECT_EQ(init_.wait(), 6 << 8);
  EXPECT_NE(init_.log().find("went on"), std::string::npos);
}

TEST_F(InitMain, sigterm_asks_main_and_its_code_counts) {
  (void)start_main("trap 'echo cleaning up; exit 12' TERM; echo ready; while :; do sleep 0.1; done");
  ASSERT_TRUE(logged("ready"));
  init_.signal(SIGTERM);
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, 12 << 8);
  EXPECT_EQ(init_.wait(), 12 << 8);
  EXPECT_NE(init_.log().find("cleaning up"), std::string::npos);
}

TEST_F(InitMain, sigterm_becomes_a_hang_up_and_then_a_kill) {
  (void)start_main("trap '' TERM; trap 'echo hung up' HUP; echo ready; while :; do sleep 0.1; done");
  ASSERT_TRUE(logged("ready"));
  init_.signal(SIGTERM);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(init_.wait(20s), (128 + SIGKILL) << 8);
  EXPECT_GE(std::chrono::steady_clock::now() - before, 4900ms);
  EXPECT_NE(init_.log().find("hung up"), std::string::npos);
}

TEST_F(InitMain, sigterm_without_main_ends_at_once) {
  ASSERT_TRUE(peer_.send(exec_request(2, "exec sleep 1000"), {0, 1, 2}));
  (void)expect(RecordKind::started, 2);
  init_.signal(SIGINT);  // ignored
  init_.signal(SIGTERM);
  EXPECT_EQ(expect(RecordKind::exited, 2).record.status, SIGTERM);
  EXPECT_EQ(init_.wait(1s), 143 << 8);
}

TEST_F(InitMain, what_main_leaves_behind_is_ended) {
  ASSERT_TRUE(peer_.send(exec_request(2, "exec sleep 1000"), {0, 1, 2}));
  (void)expect(RecordKind::started, 2);
  Pipe out = make_pipe();
  ASSERT_TRUE(
      peer_.send(exec_request(3, "trap '' TERM; echo ready; while :; do sleep 0.1; done"), {0, out.write.get(), 2}));
  (void)expect(RecordKind::started, 3);
  (void)read_line(out.read.get());
  (void)start_main("setsid sleep 1000 & exit 0");
  (void)expect(RecordKind::main_exited, 1);
  EXPECT_EQ(expect(RecordKind::exited, 2).record.status, SIGTERM);
  ASSERT_TRUE(peer_.send(exec_request(4, "true"), {0, 1, 2}));
  EXPECT_EQ(expect(RecordKind::failed, 4).record.error, ESHUTDOWN);
  EXPECT_EQ(expect(RecordKind::exited, 3).record.status, SIGKILL);
  EXPECT_EQ(init_.wait(), 0);
}

TEST_F(InitMain, starts_only_once_but_may_fail_before) {
  auto missing = main_request(1, "");
  missing.argv = {"no-such-program"};
  ASSERT_TRUE(peer_.send(missing));
  EXPECT_EQ(expect(RecordKind::failed, 1).record.error, ENOENT);
  auto nowhere = main_request(2, "true");
  nowhere.cwd = "/no/such/directory";
  ASSERT_TRUE(peer_.send(nowhere));
  EXPECT_EQ(expect(RecordKind::failed, 2).record.error, ENOENT);
  ASSERT_TRUE(peer_.send(main_request(3, "read x")));
  (void)expect(RecordKind::started, 3);
  ASSERT_TRUE(peer_.send(main_request(4, "true")));
  EXPECT_EQ(expect(RecordKind::failed, 4).record.error, EALREADY);
  ASSERT_TRUE(peer_.send(exec_request(3, "true"), {0, 1, 2}));
  EXPECT_EQ(expect(RecordKind::failed, 3).record.error, EEXIST);
}

init::Request prepare_request(std::uint64_t id) {
  auto request = main_request(id, "");
  request.kind = init::RequestKind::prepare;
  request.argv.clear();
  return request;
}

TEST_F(InitMain, starts_in_a_prepared_tmux_with_an_environment_of_its_own) {
  ASSERT_TRUE(peer_.send(prepare_request(7)));
  EXPECT_EQ(expect(RecordKind::prepared, 7).record.pid, 0);
  ASSERT_TRUE(peer_.send(prepare_request(8)));
  (void)expect(RecordKind::prepared, 8);
  // What a window opened later sees: values tmux would expand, split or end a command at.
  const std::string odd = "a b;c\"d'e$HOME~{#H}\\ \n  z\x1f\xc3\xa4";
  auto request = main_request(1, "exec sleep 100");
  request.env.push_back("ODD=" + odd);
  ASSERT_TRUE(peer_.send(request));
  EXPECT_GT(expect(RecordKind::started, 1).record.pid, 0);
  auto window = terminal_request(2, R"(until tmux -L main show-environment -g ODD; do sleep 0.01; done
      tmux -L main new-window -d 'printf "[%s]" "$ODD" > "$TMUX_TMPDIR/out"; exec sleep 100')");
  window.env.push_back("TMUX_TMPDIR=" + folder_.path());
  ASSERT_TRUE(peer_.send(window));
  const auto terminal = expect(RecordKind::started, 2);  // its end would end the script
  EXPECT_TRUE(wait_for_file(folder_ / "out", [&](const std::string& text) { return text == "[" + odd + "]"; }))
      << read_file(folder_ / "out");
}

TEST_F(InitMain, need_not_wait_for_the_preparation) {
  ASSERT_TRUE(peer_.send(prepare_request(7)));
  ASSERT_TRUE(peer_.send(main_request(1, "exit 5")));
  (void)expect(RecordKind::started, 1);
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, 5 << 8);
  EXPECT_EQ(init_.wait(), 5 << 8);
}

TEST_F(InitMain, starts_anew_where_the_prepared_tmux_is_gone) {
  ASSERT_TRUE(peer_.send(prepare_request(7)));
  (void)expect(RecordKind::prepared, 7);
  auto kill = exec_request(2, "tmux -L main kill-server");
  kill.terminal = true;
  kill.env.push_back("TMUX_TMPDIR=" + folder_.path());
  ASSERT_TRUE(peer_.send(kill));
  (void)expect(RecordKind::started, 2);
  (void)expect(RecordKind::exited, 2);
  // tmux' end may still be on its way: until then it is said to be busy.
  std::optional<Received> received;
  do {
    ASSERT_TRUE(peer_.send(main_request(1, "exit 6")));
    received = peer_.next();
    ASSERT_TRUE(received);
  } while (received->record.kind == RecordKind::failed);
  EXPECT_EQ(received->record.kind, RecordKind::started);
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, 6 << 8);
}

TEST_F(InitMain, sigterm_ends_what_is_prepared) {
  ASSERT_TRUE(peer_.send(prepare_request(7)));
  (void)expect(RecordKind::prepared, 7);
  init_.signal(SIGTERM);
  EXPECT_EQ(init_.wait(), 143 << 8);
}

TEST_F(InitMain, without_tmux_it_fails) {
  auto request = main_request(1, "true");
  request.env = {"PATH=/nonexistent"};
  ASSERT_TRUE(peer_.send(request));
  EXPECT_EQ(expect(RecordKind::failed, 1).record.error, ENOENT);
}

TEST_F(InitMain, a_restarted_daemon_learns_that_main_runs) {
  (void)start_main("read x");
  peer_.close();
  peer_ = listener_.accept();
  EXPECT_EQ(expect(RecordKind::hello, 1).record.flags, init::record_main_started);
}

TEST_F(InitMain, main_goes_on_without_a_daemon) {
  (void)start_main("read x; exit 8");
  auto terminal = attach(2);
  ASSERT_TRUE(terminal.fd);
  peer_.close();
  ASSERT_EQ(::write(terminal.fd.get(), "\r", 1), 1);
  EXPECT_EQ(init_.wait(), 8 << 8);
}

/** PID 1 of a PID namespace, as uid 1000 without capabilities: as the engine starts it. */
class InitPid1 : public InitMain {
 protected:
  InitPid1()
      : InitMain({"unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "setpriv", "--reuid=1000",
                  "--regid=1000", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"}) {}

  static void SetUpTestSuite() {
    if (::getuid() != 0) {
      GTEST_SKIP() << "needs root to make a PID namespace";
    }
  }
};

TEST_F(InitPid1, serves_and_ends_everything_with_mains_code) {
  Pipe out = make_pipe();
  ASSERT_TRUE(peer_.send(exec_request(2, "setsid sleep 1000 & id -u; exec sleep 1000"), {0, out.write.get(), 2}));
  EXPECT_GT(expect(RecordKind::started, 2).record.pid, 1);
  out.write.reset();
  EXPECT_EQ(read_line(out.read.get()), "1000");
  EXPECT_GT(start_main("echo from $(id -u); read x; exit 5"), 1);
  ASSERT_TRUE(logged("from 1000"));
  auto terminal = attach(3);
  ASSERT_TRUE(terminal.fd);
  EXPECT_NE(read_until(terminal.fd.get(), "from 1000").find("from 1000"), std::string::npos);
  ASSERT_EQ(::write(terminal.fd.get(), "\r", 1), 1);
  EXPECT_EQ(expect(RecordKind::main_exited, 1).record.status, 5 << 8);
  std::map<std::uint64_t, int> statuses;  // both end at once, in either order
  for (int i = 0; i < 2; ++i) {
    const auto ended = peer_.next();
    ASSERT_TRUE(ended);
    EXPECT_EQ(ended->record.kind, RecordKind::exited);
    statuses[ended->record.id.value] = ended->record.status;
  }
  EXPECT_EQ(statuses, (std::map<std::uint64_t, int>{{2, SIGTERM}, {3, 0}}));
  EXPECT_EQ(init_.wait(), 5 << 8);
}

TEST(InitPause, waits_for_sigterm) {
  const std::string program = init_program();
  const pid_t pid = ::fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execl(program.c_str(), program.c_str(), "--pause", nullptr);
    ::_exit(126);
  }
  ASSERT_GT(pid, 0);
  EXPECT_FALSE(wait_gone(pid, 50ms));
  ::kill(pid, SIGTERM);
  ASSERT_TRUE(wait_gone(pid));
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace hal::test
