#include "server_support.hpp"

#include <unistd.h>

/** Processes that run because somebody asked: one for each session, and shared ones with an idle timeout. */
namespace hal::server {
namespace {

using namespace test;

TEST_F(SupervisorTest, each_session_has_a_process_of_its_own) {
  run({config("s", "exec cat", Mode::session)});
  run_ready(loop_);
  EXPECT_EQ(server("s").state, State::running);
  EXPECT_TRUE(children().empty());
  supervisor_.request("s", "one");
  supervisor_.request("s", "two");
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 2; }));
  EXPECT_EQ(server("s").instances, 2U);
  std::map<std::string, InstanceId> by_session;
  for (const auto& [id, held] : gateway_.held) {
    by_session[held.session.value_or("")] = id;
    EXPECT_TRUE(echoes(id));
  }
  ASSERT_TRUE(by_session.contains("one") && by_session.contains("two"));
  gateway_.held.erase(by_session["one"]);
  supervisor_.release("s", by_session["one"]);
  ASSERT_TRUE(until([&] { return server("s").instances == 1; }));
  EXPECT_TRUE(gateway_.gone.empty()) << "the gateway knows";
  EXPECT_TRUE(echoes(by_session["two"]));
}

TEST_F(SupervisorTest, a_shared_server_has_a_second_process_for_who_asks_for_it_by_name) {
  run({config("a", "read line; [ \"$line\" = die ] && exit 9; echo $line; exec cat")});
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  const auto pid = server("a").main_pid;
  supervisor_.request("a", "new");
  supervisor_.request("a", "new");  // as a gateway does whose daemon came back
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 2; }));
  const auto second = gateway_.latest;
  EXPECT_EQ(gateway_.held.at(second).session, "new");
  EXPECT_TRUE(echoes(first));
  EXPECT_EQ(server("a").main_pid, pid) << "it stands for the first one";
  supervisor_.request("a", "another");
  ASSERT_TRUE(until([&] { return gateway_.unavailable.size() == 1; }));
  EXPECT_EQ(gateway_.unavailable[0].session, "another");

  supervisor_.disconnected();
  supervisor_.reconcile({{"a", first}, {"a", second, "new"}});
  run_ready(loop_);
  EXPECT_EQ(server("a").instances, 2U);
  EXPECT_TRUE(gateway_.gone.empty());

  ASSERT_EQ(::write(gateway_.held.at(second).to_server.get(), "die\n", 4), 4);
  ASSERT_TRUE(until([&] { return gateway_.gone.contains(second); }));
  EXPECT_EQ(server("a").state, State::running) << "its failure is none of the server's";
  EXPECT_EQ(server("a").restarts, 0U);
  EXPECT_TRUE(echoes(first));
}

TEST_F(SupervisorTest, a_second_process_that_fails_again_and_again_has_to_be_waited_for) {
  run({config("a", "read line; [ \"$line\" = die ] && exit 9; exec cat")});
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  event::Timer again(loop_, "again", [&] { supervisor_.request("a", "new"); });
  for (int i = 0; i < 4; ++i) {
    const auto former = gateway_.latest;
    supervisor_.request("a", "new");
    ASSERT_TRUE(until([&] {
      for (const auto& told : std::exchange(gateway_.unavailable, {})) {
        again.arm(told.retry_in.value_or(0ms));
      }
      return gateway_.latest != former;
    }));
    const auto second = gateway_.latest;
    ASSERT_EQ(::write(gateway_.held.at(second).to_server.get(), "die\n", 4), 4);
    ASSERT_TRUE(until([&] { return gateway_.gone.contains(second); }));
  }
  gateway_.unavailable.clear();
  supervisor_.request("a", "new");
  ASSERT_TRUE(until([&] { return gateway_.unavailable.size() == 1; }));
  EXPECT_GT(gateway_.unavailable[0].retry_in, 1min);
  EXPECT_TRUE(gateway_.held.contains(first));
  EXPECT_EQ(server("a").state, State::running);
}

TEST_F(SupervisorTest, a_session_that_crashes_is_told_and_disturbs_no_other) {
  run({config("s", "read line; [ \"$line\" = die ] && exit 9; exec cat", Mode::session)});
  supervisor_.request("s", "one");
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 1; }));
  const auto first = gateway_.latest;
  supervisor_.request("s", "two");
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 2; }));
  ASSERT_EQ(::write(gateway_.held.at(first).to_server.get(), "die\n", 4), 4);
  ASSERT_TRUE(until([&] { return gateway_.gone.contains(first); }));
  EXPECT_EQ(gateway_.gone[first], "exited with code 9");
  EXPECT_EQ(server("s").state, State::running);
  EXPECT_EQ(server("s").instances, 1U);
}

TEST_F(SupervisorTest, a_session_program_that_is_missing_refuses_with_a_reason) {
  auto missing = config("s", "", Mode::session);
  missing.argv = {"/no/such/program"};
  run({missing});
  run_ready(loop_);
  supervisor_.request("s", "one");
  ASSERT_TRUE(until([&] { return gateway_.unavailable.size() == 1; }));
  EXPECT_EQ(gateway_.unavailable[0].session, "one");
  EXPECT_TRUE(gateway_.unavailable[0].retry_in);
  EXPECT_NE(gateway_.unavailable[0].reason.find("/no/such/program"), std::string::npos);
  ASSERT_TRUE(until([&] { return server("s").state == State::running; })) << "asking again is allowed after the delay";
}

TEST_F(SupervisorTest, sessions_are_bounded) {
  auto few = config("s", "exec cat", Mode::session);
  few.max_sessions = 2;
  run({few});
  run_ready(loop_);
  for (const auto* session : {"1", "2", "3"}) {
    supervisor_.request("s", session);
  }
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 2 && gateway_.unavailable.size() == 1; }));
  EXPECT_EQ(gateway_.unavailable[0].session, "3");
  EXPECT_TRUE(gateway_.unavailable[0].retry_in);
}

TEST_F(SupervisorTest, a_server_with_an_idle_timeout_runs_only_while_it_is_asked_for) {
  auto lazy = config("a");
  lazy.idle_timeout = std::chrono::minutes(1);
  run({lazy});
  run_ready(loop_);
  EXPECT_EQ(server("a").state, State::stopped);
  EXPECT_TRUE(children().empty());
  for (int i = 0; i < 2; ++i) {
    supervisor_.request("a", std::nullopt);
    ASSERT_TRUE(until_running("a"));
    const auto instance = gateway_.latest;
    EXPECT_TRUE(echoes(instance));
    gateway_.held.erase(instance);
    supervisor_.release("a", instance);
    ASSERT_TRUE(until([&] { return server("a").state == State::stopped; }));
    run_ready(loop_);
    EXPECT_TRUE(children().empty());
  }
  EXPECT_EQ(server("a").restarts, 0U);
}

TEST_F(SupervisorTest, a_request_while_an_idle_process_ends_starts_the_next) {
  auto lazy = config("a");
  lazy.idle_timeout = std::chrono::minutes(1);
  run({lazy});
  supervisor_.request("a", std::nullopt);
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  gateway_.held.erase(first);
  supervisor_.release("a", first);
  supervisor_.request("a", std::nullopt);
  ASSERT_TRUE(until([&] { return gateway_.latest != first; }));
  EXPECT_TRUE(echoes(gateway_.latest));
}

}  // namespace
}  // namespace hal::server
