#include "server_support.hpp"

#include <algorithm>
#include <cstdint>

/** What becomes of running processes when the gateway or the daemon comes back. */
namespace hal::server {
namespace {

using namespace test;

/** Answers as it is told to; for what a child launcher cannot have: survivors, and starts that take their time. */
class SlowLauncher : public Launcher {
 public:
  void set_listener(Listener* new_listener) override { listener = new_listener; }
  void start(const LaunchSpec& spec, Done<Launched> done) override { starts[spec.instance] = std::move(done); }
  void stop(InstanceId instance, std::chrono::milliseconds /*grace*/) override { stops.push_back(instance); }
  void survivors(Done<std::vector<Survivor>> done) override { asked = std::move(done); }

  Listener* listener = nullptr;
  std::map<InstanceId, Done<Launched>> starts;
  std::vector<InstanceId> stops;
  Done<std::vector<Survivor>> asked;
};

TEST_F(SupervisorTest, a_gateway_that_returns_with_its_stdio_finds_everything_as_it_was) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  const auto pid = server("a").main_pid;
  const auto instance = gateway_.latest;
  supervisor_.disconnected();
  supervisor_.reconcile({{"a", instance}, {"a", InstanceId{99}}, {"unknown", InstanceId{98}}});
  ASSERT_TRUE(until([&] { return gateway_.gone.size() == 2; }));
  EXPECT_TRUE(gateway_.gone.contains(InstanceId{99}) && gateway_.gone.contains(InstanceId{98}));
  EXPECT_EQ(server("a").main_pid, pid);
  EXPECT_TRUE(echoes(instance));
}

TEST_F(SupervisorTest, a_gateway_that_returns_with_nothing_gets_new_processes) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  supervisor_.disconnected();
  gateway_.held.clear();  // its crash closed them
  supervisor_.reconcile({});
  ASSERT_TRUE(until([&] { return gateway_.latest != first; }));
  EXPECT_TRUE(echoes(gateway_.latest));
  EXPECT_FALSE(gateway_.gone.contains(first)) << "the new gateway never knew it";
}

TEST_F(SupervisorTest, servers_that_end_with_their_gateway_have_not_failed) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  supervisor_.disconnected();
  gateway_.held.clear();
  ASSERT_TRUE(until([&] { return server("a").instances == 0; }));
  EXPECT_EQ(server("a").state, State::starting);
  run_ready(loop_);
  EXPECT_TRUE(children().empty());
  supervisor_.reconcile({});
  ASSERT_TRUE(until_running("a"));
  EXPECT_EQ(server("a").restarts, 0U);
}

TEST_F(SupervisorTest, a_shared_server_whose_stdio_was_released_gets_a_new_process) {
  run({config("a")});
  ASSERT_TRUE(until_running("a"));
  const auto first = gateway_.latest;
  gateway_.held.erase(first);
  supervisor_.release("a", first);
  ASSERT_TRUE(until([&] { return gateway_.latest != first; }));
  EXPECT_TRUE(echoes(gateway_.latest));
}

class AdoptionTest : public SupervisorBase {
 protected:
  static Survivor survivor(const ServerConfig& config, std::uint64_t instance) {
    return {config.name, InstanceId{instance}, 1, "unit-" + std::to_string(instance), fingerprint(config)};
  }
  void end(InstanceId instance, const std::string& reason = "exited with code 0") {
    launcher_.listener->on_instance_exit(instance, {reason, true});
  }
  [[nodiscard]] bool was_stopped(std::uint64_t instance) const {
    return std::find(launcher_.stops.begin(), launcher_.stops.end(), InstanceId{instance}) != launcher_.stops.end();
  }

  SlowLauncher launcher_;
  std::optional<Supervisor> supervisor_{std::in_place, loop_, launcher_, gateway_, quick()};
};

TEST_F(AdoptionTest, what_runs_and_is_held_is_kept_and_the_rest_put_right) {
  const auto kept = config("kept");
  const auto lost = config("lost");
  auto former = config("changed");
  former.argv.emplace_back("former");
  const auto removed = config("removed");
  supervisor_->apply({kept, lost, config("changed")});
  supervisor_->reconcile({{"kept", InstanceId{1}}, {"dead", InstanceId{9}}});
  EXPECT_TRUE(launcher_.starts.empty()) << "started before it was known what runs";
  launcher_.asked(std::vector<Survivor>{survivor(kept, 1), survivor(kept, 5), survivor(lost, 2), survivor(former, 3),
                                        survivor(removed, 4)});
  run_ready(loop_);
  EXPECT_EQ(supervisor_->find("kept")->state, State::running);
  EXPECT_EQ(supervisor_->find("kept")->unit, "unit-1");
  EXPECT_FALSE(was_stopped(1));
  for (const std::uint64_t instance : {2U, 3U, 4U, 5U}) {
    EXPECT_TRUE(was_stopped(instance)) << instance;
  }
  EXPECT_EQ(gateway_.gone.size(), 1U);
  EXPECT_TRUE(gateway_.gone.contains(InstanceId{9}));
  EXPECT_EQ(launcher_.starts.size(), 1U) << "the changed one: its former process is nobody's any more";
  end(InstanceId{2});
  end(InstanceId{3});
  end(InstanceId{4});
  end(InstanceId{5});
  run_ready(loop_);
  EXPECT_EQ(launcher_.starts.size(), 2U) << "and the lost one, when its process had ended";
  end(InstanceId{1}, "was killed by signal 11");
  run_ready(loop_);
  EXPECT_EQ(gateway_.gone[InstanceId{1}], "was killed by signal 11");
  EXPECT_EQ(supervisor_->find("kept")->state, State::backoff);
}

TEST_F(AdoptionTest, without_word_of_survivors_servers_are_started_anyway) {
  supervisor_->apply({config("a")});
  supervisor_->reconcile({});
  launcher_.asked(Error{Errc::unavailable, "no bus"});
  EXPECT_EQ(launcher_.starts.size(), 1U);
}

TEST_F(AdoptionTest, the_gateway_may_go_while_survivors_are_looked_for) {
  supervisor_->apply({config("a")});
  supervisor_->reconcile({});
  supervisor_->disconnected();
  launcher_.asked(std::vector<Survivor>{survivor(config("a"), 1)});
  run_ready(loop_);
  EXPECT_TRUE(launcher_.starts.empty() && launcher_.stops.empty());
  supervisor_->reconcile({{"a", InstanceId{1}}});
  run_ready(loop_);
  EXPECT_EQ(supervisor_->find("a")->state, State::running);
  EXPECT_TRUE(launcher_.stops.empty());
}

TEST_F(AdoptionTest, a_start_that_ends_after_its_server_was_removed_is_ended) {
  supervisor_->apply({config("a")});
  supervisor_->reconcile({});
  launcher_.asked(std::vector<Survivor>{});
  ASSERT_EQ(launcher_.starts.size(), 1U);
  const auto [id, done] = *launcher_.starts.begin();
  supervisor_->apply({});
  done(Launched{});
  run_ready(loop_);
  EXPECT_TRUE(was_stopped(id.value));
  EXPECT_TRUE(gateway_.held.empty());
  EXPECT_TRUE(gateway_.gone.empty());
  bool stopped = false;
  supervisor_->stop_all([&](const Result<void>&) { stopped = true; });
  run_ready(loop_);
  EXPECT_FALSE(stopped) << "it still runs";
  end(id);
  run_ready(loop_);
  EXPECT_TRUE(stopped);
}

TEST_F(AdoptionTest, a_start_that_ends_while_the_gateway_is_away_is_ended) {
  supervisor_->apply({config("a")});
  supervisor_->reconcile({});
  launcher_.asked(std::vector<Survivor>{});
  const auto [id, done] = *launcher_.starts.begin();
  supervisor_->disconnected();
  done(Launched{});
  run_ready(loop_);
  EXPECT_TRUE(was_stopped(id.value));
  EXPECT_TRUE(gateway_.held.empty());
}

TEST_F(AdoptionTest, answers_after_the_supervisor_are_ignored) {
  supervisor_->apply({config("a")});
  supervisor_->reconcile({});
  launcher_.asked(std::vector<Survivor>{});
  const auto done = launcher_.starts.begin()->second;
  supervisor_.reset();
  EXPECT_EQ(launcher_.listener, nullptr);
  done(Launched{});
  run_ready(loop_);
  EXPECT_TRUE(gateway_.held.empty());
}

TEST_F(AdoptionTest, a_stop_while_starting_is_answered_when_the_start_was_cancelled) {
  supervisor_->apply({config("a")});
  supervisor_->reconcile({});
  launcher_.asked(std::vector<Survivor>{});
  const auto done = launcher_.starts.begin()->second;
  bool stopped = false;
  supervisor_->stop("a", [&](const Result<void>& result) { stopped = result.has_value(); });
  run_ready(loop_);
  EXPECT_FALSE(stopped);
  done(Error{Errc::cancelled, "cancelled"});
  run_ready(loop_);
  EXPECT_TRUE(stopped);
  EXPECT_EQ(supervisor_->find("a")->state, State::stopped);
  EXPECT_EQ(supervisor_->find("a")->restarts, 0U);
}

}  // namespace
}  // namespace hal::server
