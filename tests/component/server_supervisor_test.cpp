#include "server/child_launcher.hpp"
#include "server/supervisor.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hal::server {
namespace {

using namespace test;

/** Stands for the gateway: keeps the stdio of what is ready and drops that of what is gone. */
class Gateway : public Supervisor::Listener {
 public:
  struct Held {
    std::string server;
    std::optional<std::string> session;
    UniqueFd to_server;
    UniqueFd from_server;
  };

  void on_server_added(const Server& server) override { log.push_back("added " + server.config.name); }
  void on_server_changed(const Server& server) override {
    log.push_back(fmt::format("changed {} {}", server.config.name, name(server.state)));
  }
  void on_server_removed(const std::string& server) override { log.push_back("removed " + server); }
  void on_instance_ready(const std::string& server, InstanceId instance, const std::optional<std::string>& session,
                         UniqueFd to_server, UniqueFd from_server) override {
    log.push_back("ready " + server);
    EXPECT_FALSE(held.contains(instance));
    held[instance] = {server, session, std::move(to_server), std::move(from_server)};
    latest = instance;
  }
  void on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason) override {
    log.push_back("gone " + server + ": " + reason);
    EXPECT_FALSE(gone.contains(instance)) << "told twice";
    gone[instance] = reason;
    held.erase(instance);
  }
  void on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                             const std::string& reason, std::optional<std::chrono::milliseconds> retry_in) override {
    log.push_back("unavailable " + server + ": " + reason);
    unavailable.push_back({server, session, reason, retry_in});
  }

  [[nodiscard]] bool has(std::string_view part) const {
    for (const auto& line : log) {
      if (line.find(part) != std::string::npos) {
        return true;
      }
    }
    return false;
  }

  struct Unavailable {
    std::string server;
    std::optional<std::string> session;
    std::string reason;
    std::optional<std::chrono::milliseconds> retry_in;
  };
  std::vector<std::string> log;
  std::map<InstanceId, Held> held;
  std::map<InstanceId, std::string> gone;
  std::vector<Unavailable> unavailable;
  InstanceId latest;
};

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

class SupervisorBase : public ::testing::Test {
 protected:
  // The servers' account, where there is one, must reach its folders.
  SupervisorBase() { EXPECT_EQ(::chmod(folder_.path().c_str(), 0755), 0); }

  [[nodiscard]] ServerConfig config(std::string name, std::string script = "exec cat", Mode mode = Mode::shared) const {
    ServerConfig result;
    result.state_directory = folder_ / name;
    result.name = std::move(name);
    result.argv = {"sh", "-c", std::move(script)};
    result.mode = mode;
    result.stop_timeout = 200ms;
    return result;
  }

  static Supervisor::Options quick() {
    Supervisor::Options options;
    options.backoff.first = 2ms;
    options.backoff.max = 10ms;
    options.backoff.max_failures = 4;
    return options;
  }

  template <class Predicate>
  bool until(Predicate predicate) {
    return run_until(loop_, predicate);
  }

  event::Loop loop_;
  TempDir folder_;
  Gateway gateway_;
};

class SupervisorTest : public SupervisorBase {
 protected:
  /** No test leaves a process to the next. */
  void TearDown() override {
    bool done = false;
    supervisor_.stop_all([&](const Result<void>&) { done = true; });
    EXPECT_TRUE(until([&] { return done && children().empty(); }));
  }

  [[nodiscard]] const Server& server(std::string_view name) const {
    const auto* found = supervisor_.find(name);
    if (found == nullptr) {
      throw std::runtime_error("no such server");
    }
    return *found;
  }

  void run(std::vector<ServerConfig> configs) {
    supervisor_.apply(std::move(configs));
    supervisor_.reconcile({});
  }

  bool until_running(std::string_view name) {
    return until([&] { return server(name).state == State::running && gateway_.held.contains(gateway_.latest); });
  }

  bool echoes(InstanceId instance) {
    const auto& held = gateway_.held.at(instance);
    return ::write(held.to_server.get(), "hello\n", 6) == 6 && read_line(held.from_server.get()) == "hello";
  }

  /** The answer of start, stop and restart. */
  Result<void> answer_of(void (Supervisor::*call)(std::string_view, Done<void>), std::string_view name) {
    std::optional<Result<void>> result;
    (supervisor_.*call)(name, [&](Result<void> done) { result.emplace(std::move(done)); });
    EXPECT_FALSE(result) << "answered from inside the call";
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result ? std::move(*result) : Error{Errc::internal, "no answer"};
  }

  ChildLauncher launcher_{loop_};
  Supervisor supervisor_{loop_, launcher_, gateway_, quick()};
};

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
  EXPECT_EQ(gateway_.gone[first], "the server was killed by signal 9 (Killed)");
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
  EXPECT_EQ(gateway_.gone[first], "it was stopped by the operator");
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
  EXPECT_TRUE(gateway_.has("gone other: its configuration has changed"));
  EXPECT_TRUE(gateway_.has("gone leaving: it was removed"));
  EXPECT_FALSE(gateway_.has("gone same"));
  EXPECT_TRUE(gateway_.has("added new"));
  EXPECT_EQ(supervisor_.find("leaving"), nullptr);
  EXPECT_TRUE(until([&] { return !process_runs(leaving); }));
}

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

TEST_F(SupervisorTest, a_session_that_crashes_is_told_and_disturbs_no_other) {
  run({config("s", "read line; [ \"$line\" = die ] && exit 9; exec cat", Mode::session)});
  supervisor_.request("s", "one");
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 1; }));
  const auto first = gateway_.latest;
  supervisor_.request("s", "two");
  ASSERT_TRUE(until([&] { return gateway_.held.size() == 2; }));
  ASSERT_EQ(::write(gateway_.held.at(first).to_server.get(), "die\n", 4), 4);
  ASSERT_TRUE(until([&] { return gateway_.gone.contains(first); }));
  EXPECT_EQ(gateway_.gone[first], "the server exited with code 9");
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
  EXPECT_TRUE(gateway_.has("gone chroma: the parent has a new network"));
  const auto pid = server("chroma").main_pid;
  supervisor_.set_network_namespace({});  // what runs is left alone
  run_ready(loop_);
  EXPECT_EQ(server("chroma").main_pid, pid);
  EXPECT_EQ(server("plain").main_pid, plain);
}

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
  EXPECT_EQ(gateway_.gone[InstanceId{1}], "the server was killed by signal 11");
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
