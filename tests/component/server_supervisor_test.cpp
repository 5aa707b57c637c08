#include "server_support.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstdlib>

namespace hal::server {
namespace {

using namespace test;

TEST_F(SupervisorTest, nothing_starts_before_the_gateway_is_there) {
  supervisor_.apply({config("a")});
  run_ready(loop_);
  EXPECT_EQ(gateway_.log, (std::vector<std::string>{"added a"}));
  EXPECT_EQ(server("a").state, State::starting);
  EXPECT_EQ(server("a").reason, "waits for the gateway");
  EXPECT_TRUE(children().empty());
  supervisor_.reconcile({});
  ASSERT_TRUE(until_running("a"));
  EXPECT_TRUE(process_runs(server("a").main_pid));
  EXPECT_EQ(server("a").restarts, 0U);
  EXPECT_TRUE(echoes(gateway_.latest));
}

TEST_F(SupervisorTest, a_killed_server_is_told_gone_and_started_again) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  ::kill(server("a").main_pid, SIGKILL);
  ASSERT_TRUE(until([&] { return gateway_.latest != first; }));
  EXPECT_EQ(gateway_.gone[first], "was killed by signal 9 (Killed)");
  ASSERT_TRUE(until_running("a"));
  EXPECT_EQ(server("a").restarts, 1U);
  EXPECT_TRUE(echoes(gateway_.latest));
}

TEST_F(SupervisorTest, a_crash_loop_ends_in_failed_and_leaves_others_alone) {
  run({config("bad", "echo no luck >&2; exit 5"), config("good")});
  ASSERT_TRUE(until([&] { return server("bad").state == State::failed; }));
  EXPECT_EQ(server("bad").reason,
            "it fails again and again and was given up: exited with code 5; last stderr: no luck");
  EXPECT_EQ(server("bad").restarts, 3U);
  ASSERT_TRUE(until([&] { return !gateway_.unavailable.empty(); }));
  EXPECT_FALSE(gateway_.unavailable.back().retry_in);
  EXPECT_EQ(server("good").state, State::running);
  EXPECT_EQ(server("good").restarts, 0U);
}

TEST_F(SupervisorTest, the_operator_gets_a_failed_server_going) {
  auto broken = config("a", "exit 1");
  run({broken});
  ASSERT_TRUE(until([&] { return server("a").state == State::failed; }));
  const auto refused = answer_of(&Supervisor::start, "a");
  if (!refused) {
    EXPECT_EQ(refused.error().code, Errc::unavailable);
  }
  ASSERT_TRUE(until([&] { return server("a").state == State::failed; }));
  supervisor_.apply({config("a")});  // a new configuration forgets the failures
  ASSERT_TRUE(until_running("a"));
  EXPECT_TRUE(echoes(gateway_.latest));
}

TEST_F(SupervisorTest, a_missing_program_is_named) {
  auto missing = config("a");
  missing.argv = {"/no/such/program"};
  run({missing});
  ASSERT_TRUE(until([&] { return server("a").state == State::failed; }));
  EXPECT_NE(server("a").reason.find("/no/such/program"), std::string::npos) << server("a").reason;
  EXPECT_TRUE(gateway_.gone.empty());
}

TEST_F(SupervisorTest, a_stopped_server_stays_stopped_until_started) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  const auto pid = server("a").main_pid;
  ASSERT_TRUE(answer_of(&Supervisor::stop, "a"));
  EXPECT_FALSE(process_runs(pid));
  EXPECT_EQ(server("a").state, State::stopped);
  EXPECT_EQ(gateway_.gone[first], "was stopped by the operator");
  supervisor_.request("a", std::nullopt);
  ASSERT_TRUE(until([&] { return gateway_.unavailable.size() == 1; }));
  EXPECT_EQ(gateway_.unavailable[0].reason, "stopped: stopped by the operator");
  EXPECT_FALSE(gateway_.unavailable[0].retry_in);
  ASSERT_TRUE(answer_of(&Supervisor::start, "a"));
  EXPECT_EQ(server("a").state, State::running);
  EXPECT_NE(gateway_.latest, first);
  EXPECT_EQ(server("a").restarts, 0U);
}

TEST_F(SupervisorTest, a_restart_answers_when_the_new_process_runs) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  const auto pid = server("a").main_pid;
  ASSERT_TRUE(answer_of(&Supervisor::restart, "a"));
  EXPECT_FALSE(process_runs(pid));
  EXPECT_NE(server("a").main_pid, pid);
  EXPECT_NE(gateway_.latest, first);
  EXPECT_TRUE(echoes(gateway_.latest));
}

TEST_F(SupervisorTest, a_server_that_ignores_its_end_is_killed) {
  run({config("a", "trap '' TERM; while :; do sleep 1000; done")});
  ASSERT_TRUE(until_running("a"));
  const auto pid = server("a").main_pid;
  ASSERT_TRUE(answer_of(&Supervisor::stop, "a"));
  EXPECT_FALSE(process_runs(pid));
}

TEST_F(SupervisorTest, unknown_names_are_not_found) {
  run({});
  for (const auto call : {&Supervisor::start, &Supervisor::stop, &Supervisor::restart}) {
    const auto result = answer_of(call, "none");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::not_found);
  }
  supervisor_.request("none", "s");
  ASSERT_TRUE(until([&] { return gateway_.unavailable.size() == 1; }));
  EXPECT_EQ(gateway_.unavailable[0].session, "s");
  supervisor_.release("none", InstanceId{1});
}

TEST_F(SupervisorTest, a_reload_touches_what_has_changed_only) {
  run({config("same"), config("other"), config("leaving")});
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 3; }));
  const auto same = server("same").main_pid;
  const auto other = server("other").main_pid;
  const auto leaving = server("leaving").main_pid;
  auto limits = config("same");
  limits.max_requests = 7;
  gateway_.log.clear();
  supervisor_.apply({limits, config("other", "exec cat -"), config("new")});
  ASSERT_TRUE(until([&] {
    return server("new").state == State::running && server("other").state == State::running &&
           server("other").main_pid != other && gateway_.has("removed leaving");
  }));
  EXPECT_EQ(server("same").main_pid, same);
  EXPECT_EQ(server("same").config.max_requests, 7U);
  EXPECT_TRUE(gateway_.has("changed same"));
  EXPECT_TRUE(gateway_.has("gone other: has another configuration now"));
  EXPECT_TRUE(gateway_.has("gone leaving: was removed"));
  EXPECT_FALSE(gateway_.has("gone same"));
  EXPECT_TRUE(gateway_.has("added new"));
  EXPECT_EQ(supervisor_.find("leaving"), nullptr);
  EXPECT_TRUE(until([&] { return !process_runs(leaving); }));
}

TEST_F(SupervisorTest, the_parents_network_is_waited_for_and_followed) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root";
  }
  const auto network = [this](const char* name) {
    // A namespace of its own, made by a thread-less child and kept by a bind mount in ours.
    static const bool alone =
        ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    EXPECT_TRUE(alone);
    const auto path = folder_.write(name, "");
    EXPECT_EQ(std::system(("unshare --net=" + path + " true").c_str()), 0);
    return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  };
  auto chroma = config("chroma", "stat -L -c %i /proc/self/ns/net; exec cat");
  chroma.network = Network::parent;
  run({chroma, config("plain")});
  ASSERT_TRUE(until([&] { return server("plain").state == State::running; }));
  EXPECT_EQ(server("chroma").state, State::starting);
  EXPECT_EQ(server("chroma").reason, "waits for the parent's network");
  const auto waiting = answer_of(&Supervisor::start, "chroma");
  ASSERT_FALSE(waiting);
  EXPECT_EQ(waiting.error().code, Errc::unavailable);
  const auto plain = server("plain").main_pid;

  for (const auto* name : {"first", "second"}) {
    auto fd = network(name);
    struct stat status {};
    ASSERT_EQ(::fstat(fd.get(), &status), 0);
    const auto former = gateway_.latest;
    supervisor_.set_network_namespace(std::move(fd));
    ASSERT_TRUE(until([&] { return gateway_.latest != former && gateway_.held.contains(gateway_.latest); })) << name;
    EXPECT_EQ(read_line(gateway_.held.at(gateway_.latest).from_server.get()), fmt::format("{}", status.st_ino));
  }
  EXPECT_TRUE(gateway_.has("gone chroma: was in a former network of the parent"));
  const auto pid = server("chroma").main_pid;
  supervisor_.set_network_namespace({});  // what runs is left alone
  run_ready(loop_);
  EXPECT_EQ(server("chroma").main_pid, pid);
  EXPECT_EQ(server("plain").main_pid, plain);
}

TEST_F(SupervisorTest, stop_all_ends_everything_and_starts_nothing_more) {
  run({config("a"), config("b", "trap '' TERM; while :; do sleep 1000; done"), config("s", "exec cat", Mode::session)});
  supervisor_.request("s", "one");
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 3; }));
  bool done = false;
  supervisor_.stop_all([&](const Result<void>& result) { done = result.has_value(); });
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_TRUE(children().empty());
  supervisor_.request("s", "two");
  supervisor_.apply({config("c")});
  run_ready(loop_);
  EXPECT_TRUE(children().empty());
  EXPECT_EQ(server("c").state, State::stopped);
}

TEST_F(SupervisorTest, a_hundred_restarts_leave_no_descriptor_open) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  const auto before = open_fds();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(answer_of(&Supervisor::restart, "a"));
  }
  EXPECT_EQ(open_fds(), before);
  EXPECT_EQ(children().size(), 1U);
}

}  // namespace
}  // namespace hal::server
