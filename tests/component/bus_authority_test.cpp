#include "base/log.hpp"
#include "bus_support.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

constexpr const char denied[] = "org.freedesktop.DBus.Error.AccessDenied";

class BusAuthority : public ::testing::Test, public BusTest {
 protected:
  Client owner{loop, daemon.address(), alice};
  Client other{loop, daemon.address(), bob};
  const std::string path = path_of("0a");
  static constexpr const char* manager_path = "/org/hal9000";

  Answer spawn(Client& client) { return client.call(manager_path, manager, "Spawn", "sa{sv}", "/srv", 0); }
};

TEST_F(BusAuthority, without_polkit_only_root_and_owners_may_anything) {
  Client root(loop, daemon.address(), 0);
  EXPECT_TRUE(spawn(root).ok());
  EXPECT_TRUE(root.call(path, worker1, "Pause").ok());

  EXPECT_TRUE(owner.call(path, worker1, "Pause").ok());
  EXPECT_TRUE(owner.call(path, worker1, "Attach", "a{sv}", 0).ok());
  EXPECT_EQ(spawn(owner).error(), denied);
  EXPECT_EQ(owner.call("/org/hal9000/server/memory_2dbank", server1, "Stop").error(), denied);
  EXPECT_EQ(owner.call("/org/hal9000/parent", parent1, "RestartChroma").error(), denied);
  EXPECT_EQ(owner.call(manager_path, manager, "Reload").error(), denied);

  for (const char* method : {"Pause", "Restart", "Remove", "Lease"}) {
    EXPECT_EQ(other.call(path, worker1, method).error(), denied) << method;
  }
  EXPECT_EQ(other.call(path, worker1, "Attach", "a{sv}", 0).error(), denied);
  EXPECT_EQ(other.call(path, worker1, "Capture", "u", 0).error(), denied);
  EXPECT_EQ(registry.calls,
            (std::vector<std::string>{"spawn /srv", "pause 0a", "pause 0a", "attach 0a 24x80 xterm-256color"}));
}

TEST_F(BusAuthority, asks_polkit_about_the_callers_connection) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::yes;
  EXPECT_TRUE(spawn(owner).ok());
  ASSERT_EQ(polkit.questions.size(), 1U);
  EXPECT_EQ(polkit.questions[0].subject, "system-bus-name name=" + owner.unique_name());
  EXPECT_EQ(polkit.questions[0].action, "org.hal9000.spawn");
  EXPECT_EQ(polkit.questions[0].flags, 0U);
  EXPECT_NE(polkit.questions[0].cancellation, "");
  EXPECT_EQ(registry.last_spawn->owner, alice);
}

TEST_F(BusAuthority, asks_for_the_action_of_the_method_and_the_owner) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::yes;
  const auto asked = [&](const Answer& answer) {
    EXPECT_TRUE(answer.ok()) << answer.error();
    return polkit.questions.empty() ? "" : polkit.questions.back().action;
  };
  EXPECT_EQ(asked(owner.call(path, worker1, "Pause")), "org.hal9000.manage-own-worker");
  EXPECT_EQ(asked(owner.call(path, worker1, "Attach", "a{sv}", 0)), "org.hal9000.manage-own-worker");
  EXPECT_EQ(asked(other.call(path, worker1, "Pause")), "org.hal9000.manage-any-worker");
  EXPECT_EQ(asked(other.call(path, worker1, "Attach", "a{sv}", 0)), "org.hal9000.attach-any-worker");
  EXPECT_EQ(asked(other.call("/org/hal9000/server/memory_2dbank", server1, "Start")), "org.hal9000.manage-servers");
  EXPECT_EQ(asked(other.call("/org/hal9000/server/memory_2dbank", server1, "Call", "ss", "x", "")),
            "org.hal9000.call-server");
  EXPECT_EQ(asked(other.call("/org/hal9000/parent", parent1, "RestartChroma")), "org.hal9000.manage-daemon");
  EXPECT_EQ(polkit.questions.size(), 7U);
  const auto job = owner.call(manager_path, manager, "InstallServer", "ssa{sv}", "a", "npm:a", 0);
  EXPECT_EQ(asked(job), "org.hal9000.manage-servers");
  EXPECT_EQ(asked(owner.call(job.text(), job1, "Cancel")), "org.hal9000.manage-own-worker");
  EXPECT_EQ(other.call(job.text(), job1, "Cancel").error(), "org.hal9000.Error.Busy");
  EXPECT_EQ(polkit.questions.back().action, "org.hal9000.manage-daemon");
  polkit.questions.resize(7);
  EXPECT_TRUE(other.call(manager_path, manager, "ListWorkers").ok());
  EXPECT_TRUE(other.call(manager_path, manager, "GetWorker", "s", "0a").ok());
  Client root(loop, daemon.address(), 0);
  EXPECT_TRUE(root.call(path, worker1, "Pause").ok());
  EXPECT_EQ(polkit.questions.size(), 7U);
}

TEST_F(BusAuthority, obeys_a_no_even_for_the_owner) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::no;
  EXPECT_EQ(spawn(owner).error(), denied);
  EXPECT_EQ(owner.call(path, worker1, "Pause").error(), denied);
  EXPECT_TRUE(registry.calls.empty());
}

TEST_F(BusAuthority, says_where_a_password_would_help) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::ask;
  EXPECT_EQ(spawn(owner).error(), "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired");

  auto* message = owner.make_call(manager_path, manager, "Spawn");
  ASSERT_GE(sd_bus_message_append(message, "sa{sv}", "/srv", 0), 0);
  ASSERT_GE(sd_bus_message_set_allow_interactive_authorization(message, 1), 0);
  const auto answer = owner.wait(owner.send(message));
  EXPECT_EQ(polkit.questions.back().flags, 1U);
  EXPECT_EQ(answer.error(), denied);
}

TEST_F(BusAuthority, anyone_may_trace_their_own_and_who_manages_servers_all) {
  const auto trace = [&](Client& client, bool interactive) {
    auto* message = client.make_call("/org/hal9000/server/memory_2dbank", server1, "Trace");
    EXPECT_GE(sd_bus_message_append(message, "a{sv}", 1, "payloads", "b", 1), 0);
    EXPECT_GE(sd_bus_message_set_allow_interactive_authorization(message, interactive ? 1 : 0), 0);
    servers.last_trace.reset();
    return client.wait(client.send(message));
  };
  const auto sees = [&](uid_t reader, bool all) {
    return servers.last_trace && servers.last_trace->reader == reader && servers.last_trace->all == all &&
           servers.last_trace->payloads;
  };
  Client root(loop, daemon.address(), 0);
  EXPECT_TRUE(trace(root, false).ok());
  EXPECT_TRUE(sees(0, true));
  EXPECT_TRUE(trace(owner, false).ok()) << "without polkit";
  EXPECT_TRUE(sees(alice, false));

  FakePolkit polkit(loop, daemon.address());
  for (const auto says : {FakePolkit::Says::no, FakePolkit::Says::ask, FakePolkit::Says::broken}) {
    polkit.says = says;
    EXPECT_TRUE(trace(owner, true).ok());
    EXPECT_TRUE(sees(alice, false));
    ASSERT_FALSE(polkit.questions.empty());
    EXPECT_EQ(polkit.questions.back().action, "org.hal9000.manage-servers");
    EXPECT_EQ(polkit.questions.back().flags, 0U) << "nobody is asked for a password";
  }
  polkit.says = FakePolkit::Says::yes;
  EXPECT_TRUE(trace(owner, false).ok());
  EXPECT_TRUE(sees(alice, true));

  const auto wrong = owner.call("/org/hal9000/server/memory_2dbank", server1, "Trace", "a{sv}", 1, "all", "b", 1);
  EXPECT_EQ(wrong.error(), "org.hal9000.Error.InvalidArgument");
  servers.next_error = Error{Errc::limit, "traced 16 times"};
  EXPECT_EQ(trace(owner, false).error(), "org.hal9000.Error.LimitExceeded");
}

TEST_F(BusAuthority, refuses_where_polkit_is_broken) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::broken;
  EXPECT_EQ(spawn(owner).error(), denied);
  EXPECT_EQ(owner.call(path, worker1, "Pause").error(), denied);
}

TEST_F(BusAuthority, takes_the_question_back_when_the_caller_leaves) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::nothing;
  {
    Client leaver(loop, daemon.address(), alice);
    (void)leaver.start(manager_path, manager, "Spawn", "sa{sv}", "/srv", 0);
    ASSERT_TRUE(run_until(loop, [&] { return polkit.questions.size() == 1; }));
  }
  ASSERT_TRUE(run_until(loop, [&] { return polkit.cancelled.size() == 1; }));
  EXPECT_EQ(polkit.cancelled[0], polkit.questions[0].cancellation);
  EXPECT_TRUE(registry.calls.empty());
}

// Which of them is the one too many is not settled: some wait for the caller's uid, later ones find it known.
TEST_F(BusAuthority, bounds_the_questions_of_a_user_and_serves_others_meanwhile) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::nothing;
  {
    Client asker(loop, daemon.address(), alice);
    std::vector<Client::Pending> calls;
    for (int i = 0; i < 65; ++i) {
      calls.push_back(asker.start(manager_path, manager, "Spawn", "sa{sv}", "/srv", 0));
    }
    const auto answered = [](const Client::Pending& call) { return call->get() != nullptr; };
    ASSERT_TRUE(run_until(
        loop, [&] { return polkit.questions.size() >= 64 && std::any_of(calls.begin(), calls.end(), answered); }, 20s));
    EXPECT_EQ((*std::find_if(calls.begin(), calls.end(), answered))->error(), "org.hal9000.Error.LimitExceeded");
    EXPECT_EQ(spawn(owner).error(), "org.hal9000.Error.LimitExceeded") << "the same user by another connection";
    EXPECT_EQ(std::count_if(calls.begin(), calls.end(), answered), 1);
    EXPECT_EQ(polkit.questions.size(), 64U);

    polkit.says = FakePolkit::Says::yes;
    EXPECT_TRUE(spawn(other).ok());
  }
  ASSERT_TRUE(run_until(loop, [&] { return polkit.cancelled.size() == 64; }));
  EXPECT_TRUE(spawn(owner).ok());
}

TEST_F(BusAuthority, answers_that_the_worker_is_gone_after_a_long_question) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::nothing;
  const auto pending = owner.start(path, worker1, "Lease", "");
  ASSERT_TRUE(run_until(loop, [&] { return polkit.questions.size() == 1; }));
  registry.erase(WorkerId{"0a"});
  service.reset();  // and so is the service
  EXPECT_EQ(owner.wait(pending).error(), "org.hal9000.Error.NotFound");
}

class BusLogControl : public ::testing::Test, public BusTest {
 protected:
  void TearDown() override { log::set_max_level(log::Level::info); }
  static constexpr const char* path = "/org/freedesktop/LogControl1";
  static constexpr const char* interface = "org.freedesktop.LogControl1";
  Answer set(Client& client, const char* name, const char* value) {
    return client.call(path, properties, "Set", "ssv", interface, name, "s", value);
  }
};

TEST_F(BusLogControl, lets_root_set_the_level) {
  Client root(loop, daemon.address(), 0);
  EXPECT_EQ(root.property(path, interface, "LogLevel"), "info");
  EXPECT_TRUE(set(root, "LogLevel", "debug").ok());
  EXPECT_EQ(log::max_level(), log::Level::debug);
  EXPECT_EQ(root.property(path, interface, "LogLevel"), "debug");
  EXPECT_TRUE(set(root, "LogLevel", "emerg").ok());
  EXPECT_EQ(root.property(path, interface, "LogLevel"), "crit");
  EXPECT_EQ(set(root, "LogLevel", "loud").error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(log::max_level(), log::Level::critical);
}

TEST_F(BusLogControl, shows_the_target_and_does_not_change_it) {
  Client root(loop, daemon.address(), 0);
  EXPECT_EQ(root.property(path, interface, "LogTarget"), "console");
  EXPECT_TRUE(set(root, "LogTarget", "console").ok());
  EXPECT_EQ(set(root, "LogTarget", "kmsg").error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(set(root, "SyslogIdentifier", "x").error(), "org.freedesktop.DBus.Error.PropertyReadOnly");
}

TEST_F(BusLogControl, lets_nobody_else) {
  FakePolkit polkit(loop, daemon.address());
  polkit.says = FakePolkit::Says::yes;
  Client user(loop, daemon.address(), alice);
  EXPECT_EQ(set(user, "LogLevel", "debug").error(), denied);
  EXPECT_EQ(log::max_level(), log::Level::info);
  EXPECT_TRUE(polkit.questions.empty());
  EXPECT_EQ(user.property(path, interface, "LogLevel"), "info");
}

}  // namespace
}  // namespace hal::test
