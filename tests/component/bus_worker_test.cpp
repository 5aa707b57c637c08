#include "bus_support.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

class BusWorker : public ::testing::Test, public BusTest {
 protected:
  Client root{loop, daemon.address(), 0};
  const std::string path = path_of("0a");
  const WorkerId id{"0a"};
};

TEST_F(BusWorker, passes_its_calls_on) {
  EXPECT_TRUE(root.call(path, worker1, "Stop", "u", 0).ok());
  EXPECT_TRUE(root.call(path, worker1, "Stop", "u", 1).ok());
  EXPECT_TRUE(root.call(path, worker1, "Kill", "s", "9").ok());
  EXPECT_TRUE(root.call(path, worker1, "Restart").ok());
  EXPECT_TRUE(root.call(path, worker1, "Pause").ok());
  EXPECT_TRUE(root.call(path, worker1, "Resume").ok());
  EXPECT_TRUE(root.call(path, worker1, "Send", "s", "hi\n").ok());
  EXPECT_TRUE(root.call(path, worker1, "SetLimits", "a{sv}", 1, "cpus", "d", 1.5).ok());
  EXPECT_EQ(registry.calls,
            (std::vector<std::string>{"stop 0a 10000", "stop 0a 1", "kill 0a 9", "restart 0a", "pause 0a", "resume 0a",
                                      "send 0a hi\n", "set_limits 0a 0 1500000000 0"}));
}

TEST_F(BusWorker, refuses_what_it_cannot_read) {
  const auto refused = [&](const Answer& answer, const char* name) {
    EXPECT_EQ(answer.error(), std::string("org.hal9000.Error.") + name) << answer.error_message();
  };
  refused(root.call(path, worker1, "Stop", "u", 600'001), "InvalidArgument");
  refused(root.call(path, worker1, "Kill", "s", "SIGFOO"), "InvalidArgument");
  refused(root.call(path, worker1, "Send", "s", std::string(65'537, 'a').c_str()), "LimitExceeded");
  refused(root.call(path, worker1, "Capture", "u", 10'001), "InvalidArgument");
  refused(root.call(path, worker1, "SetLimits", "a{sv}", 0), "InvalidArgument");
  refused(root.call(path, worker1, "SetLimits", "a{sv}", 1, "memory", "t", std::uint64_t{1}), "InvalidArgument");
  refused(root.call(path, worker1, "Attach", "a{sv}", 1, "rows", "q", 5), "InvalidArgument");
  refused(root.call(path, worker1, "Exec", "asa{sv}", 0, 0), "InvalidArgument");
  refused(root.call(path, worker1, "Logs", "a{sv}", 1, "tail", "s", "5"), "InvalidArgument");
  refused(root.call(path, worker1, "WaitExec", "s", "x"), "NotFound");
  refused(root.call(path, worker1, "ResizeTerminal", "sqq", "1", 0, 5), "InvalidArgument");
  EXPECT_TRUE(registry.calls.empty());
}

TEST_F(BusWorker, passes_errors_on) {
  registry.next_error = Error{Errc::busy, "the worker is stopping"};
  const auto answer = root.call(path, worker1, "Pause");
  EXPECT_EQ(answer.error(), "org.hal9000.Error.Busy");
  EXPECT_EQ(answer.error_message(), "the worker is stopping");
}

TEST_F(BusWorker, attaches_by_a_descriptor_that_works_both_ways) {
  const auto answer =
      root.call(path, worker1, "Attach", "a{sv}", 3, "rows", "q", 50, "columns", "q", 132, "term", "s", "screen");
  const auto stream = answer.fd();
  ASSERT_TRUE(stream) << answer.error_message();
  EXPECT_EQ(registry.calls.back(), "attach 0a 50x132 screen");
  ASSERT_EQ(registry.far_ends.size(), 1U);
  ASSERT_EQ(::write(stream.get(), "ls\n", 3), 3);
  EXPECT_EQ(read_line(registry.far_ends[0].get()), "ls");
  ASSERT_EQ(::write(registry.far_ends[0].get(), "file\n", 5), 5);
  EXPECT_EQ(read_line(stream.get()), "file");
}

TEST_F(BusWorker, keeps_no_end_of_a_stream) {
  const auto before = open_fds();
  {
    const auto stream = root.call(path, worker1, "Attach", "a{sv}", 0).fd();
    ASSERT_TRUE(stream);
    registry.far_ends.clear();
    char c = 0;
    EXPECT_EQ(::read(stream.get(), &c, 1), 0);
  }
  EXPECT_TRUE(root.call(path, worker1, "Pause").ok());
  EXPECT_EQ(open_fds(), before);
}

TEST_F(BusWorker, runs_programs_and_tells_their_exit_codes) {
  auto error_pipe = make_pipe();
  const auto answer = root.call(path, worker1, "Exec", "asa{sv}", 2, "cat", "-", 3, "cwd", "s", "/tmp", "env", "a{ss}",
                                1, "A", "b", "stderr", "h", error_pipe.write.get());
  ASSERT_TRUE(answer.fd()) << answer.error_message();
  ASSERT_TRUE(registry.last_exec.has_value());
  EXPECT_EQ(registry.last_exec->argv, (std::vector<std::string>{"cat", "-"}));
  EXPECT_EQ(registry.last_exec->cwd, "/tmp");
  EXPECT_EQ(registry.last_exec->env.at("A"), "b");
  EXPECT_FALSE(registry.last_exec->terminal.has_value());
  const int error_output = registry.last_exec->error_output.get();
  ASSERT_EQ(::write(error_output, "oops\n", 5), 5);
  EXPECT_EQ(read_line(error_pipe.read.get()), "oops");
  EXPECT_NE(::fcntl(error_output, F_GETFD) & FD_CLOEXEC, 0);

  const auto pending = root.start(path, worker1, "WaitExec", "s", "1");
  EXPECT_TRUE(root.call(path, worker1, "ResizeTerminal", "sqq", "1", 30, 90).ok());
  EXPECT_EQ(registry.calls.back(), "resize 0a 1 30x90");
  EXPECT_EQ(pending->get(), nullptr);
  registry.exec_ended(ExecId{1}, 3);
  std::int32_t code = -1;
  ASSERT_GT(sd_bus_message_read(root.wait(pending).get(), "i", &code), 0);
  EXPECT_EQ(code, 3);
  EXPECT_EQ(root.call(path, worker1, "WaitExec", "s", "77").error(), "org.hal9000.Error.NotFound");
  EXPECT_EQ(root.call(path, worker1, "ResizeTerminal", "sqq", "77", 1, 1).error(), "org.hal9000.Error.NotFound");
}

TEST_F(BusWorker, bounds_the_calls_that_wait_for_programs) {
  ASSERT_TRUE(root.call(path, worker1, "Exec", "asa{sv}", 1, "cat", 0).fd());
  for (int client = 0; client < 4; ++client) {  // whose calls stay when they leave
    Client leaver(loop, daemon.address(), alice);
    for (int i = 0; i < 64; ++i) {
      (void)leaver.start(path, worker1, "WaitExec", "s", "1");
    }
    const auto expected = static_cast<std::size_t>(client + 1) * 64;
    ASSERT_TRUE(run_until(loop, [&] { return registry.waiting.size() == expected; }));
  }
  EXPECT_EQ(root.call(path, worker1, "WaitExec", "s", "1").error(), "org.hal9000.Error.LimitExceeded");
  registry.exec_ended(ExecId{1}, 0);
  EXPECT_TRUE(root.call(path, worker1, "WaitExec", "s", "1").ok());
}

TEST_F(BusWorker, runs_programs_on_a_terminal) {
  ASSERT_TRUE(
      root.call(path, worker1, "Exec", "asa{sv}", 1, "top", 3, "terminal", "b", 1, "rows", "q", 10, "columns", "q", 20)
          .fd());
  ASSERT_TRUE(registry.last_exec->terminal.has_value());
  EXPECT_EQ(registry.last_exec->terminal->rows, 10);
  EXPECT_EQ(registry.last_exec->terminal->columns, 20);
}

TEST_F(BusWorker, gives_its_log_and_screen) {
  registry.log_text = "one\ntwo\n";
  registry.screen = std::string("a\xff\nb", 4);
  const auto log = root.call(path, worker1, "Logs", "a{sv}", 2, "tail", "u", 7, "timestamps", "b", 1).fd();
  EXPECT_EQ(read_all(log.get()), "one\ntwo\n");
  EXPECT_EQ(registry.calls.back(), "logs 0a false 7 true");
  EXPECT_EQ(root.call(path, worker1, "Capture", "u", 20).text(), "a\\xff\\x0ab");
  EXPECT_EQ(registry.calls.back(), "capture 0a 20");
}

TEST_F(BusWorker, ends_in_its_own_method) {
  root.record();
  EXPECT_TRUE(root.call(path, worker1, "Remove").ok());
  ASSERT_TRUE(root.wait_signal("/org/hal9000", "InterfacesRemoved"));
  EXPECT_EQ(root.call(path, worker1, "Remove").error(), "org.freedesktop.DBus.Error.UnknownObject");
}

TEST_F(BusWorker, ends_while_calls_wait_for_it) {
  ASSERT_TRUE(root.call(path, worker1, "Exec", "asa{sv}", 1, "cat", 0).fd());
  const auto waits = root.start(path, worker1, "WaitExec", "s", "1");
  ASSERT_TRUE(run_until(loop, [&] { return !registry.waiting.empty(); }));
  registry.erase(id);
  EXPECT_EQ(root.wait(waits).error(), "org.hal9000.Error.NotFound");
  // Nothing is left that a list of all objects would stumble over.
  EXPECT_TRUE(root.call("/org/hal9000", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects").ok());
  EXPECT_EQ(root.call(path, worker1, "Pause").error(), "org.freedesktop.DBus.Error.UnknownObject");
}

TEST_F(BusWorker, is_given_back_when_its_last_lease_is_closed) {
  auto first = root.call(path, worker1, "Lease").fd();
  auto second = root.call(path, worker1, "Lease").fd();
  ASSERT_TRUE(first && second);
  first.reset();
  EXPECT_TRUE(root.call(path, worker1, "Pause").ok());
  run_ready(loop);
  EXPECT_NE(registry.find(id), nullptr);
  second.reset();
  EXPECT_TRUE(run_until(loop, [&] { return registry.find(id) == nullptr; }));
}

TEST_F(BusWorker, is_given_back_when_the_holder_of_its_lease_dies_before_it_reads_the_answer) {
  {
    Client owner(loop, daemon.address(), alice);
    const auto pending = owner.start(path, worker1, "Lease", "");
    ASSERT_TRUE(run_until(loop, [&] { return pending->get() != nullptr; }));
  }
  EXPECT_TRUE(run_until(loop, [&] { return registry.find(id) == nullptr; }));
}

TEST_F(BusWorker, ends_its_leases_with_itself) {
  const auto lease = root.call(path, worker1, "Lease").fd();
  registry.erase(id);
  EXPECT_EQ(read_all(lease.get()), "");
  char c = 0;
  EXPECT_EQ(::read(lease.get(), &c, 1), 0);
}

TEST_F(BusWorker, bounds_its_leases) {
  std::vector<UniqueFd> leases;
  for (int i = 0; i < 16; ++i) {
    leases.push_back(root.call(path, worker1, "Lease").fd());
    ASSERT_TRUE(leases.back());
  }
  EXPECT_EQ(root.call(path, worker1, "Lease").error(), "org.hal9000.Error.LimitExceeded");
}

TEST_F(BusWorker, shows_what_is_used_now) {
  registry.usage_now = {.memory_bytes = 11, .cpu_nanoseconds = 22, .pids = 33};
  EXPECT_EQ(root.property(path, worker1, "MemoryCurrent"), "11");
  EXPECT_EQ(root.property(path, worker1, "CPUUsageNSec"), "22");
  EXPECT_EQ(root.property(path, worker1, "TasksCurrent"), "33");
  EXPECT_EQ(root.property(path, worker1, "ExitCode"), "-1");
  EXPECT_EQ(root.property(path, worker1, "Owner"), "1");
}

TEST_F(BusWorker, tells_all_that_changed_in_one_signal) {
  root.record();
  registry.change(id, [](worker::Worker& worker) {
    worker.name = "n";
    worker.reason = "r";
    worker.owner = 5;
    worker.workspace = "/w";
    worker.container = {"c"};
    worker.pid = 7;
  });
  registry.change(id, [](worker::Worker& worker) {
    worker.servers = {"s"};
    worker.limits = {1, 2.5, 3};
    worker.restarts = 1;
    worker.state = worker::State::exited;
    worker.exit_code = 4;
  });
  ASSERT_TRUE(root.wait_signal(path, "PropertiesChanged"));
  EXPECT_EQ(root.property(path, worker1, "ExitCode"), "4");
  ASSERT_EQ(root.signals_of(path, "PropertiesChanged").size(), 1U);
  EXPECT_EQ(root.signals_of(path, "PropertiesChanged").front().words,
            (std::set<std::string>{"Name", "State", "Reason", "Owner", "Workspace", "ContainerId", "Pid", "Servers",
                                   "MemoryMax", "CPUMax", "TasksMax", "Restarts", "ExitCode"}));
}

TEST_F(BusWorker, tells_only_what_changed) {
  root.record();
  registry.change(id, [](worker::Worker& worker) { worker.pid = 7; });
  registry.change(id, [](worker::Worker& worker) { worker.last_activity_usec = 7; });
  ASSERT_TRUE(root.wait_signal(path, "PropertiesChanged"));
  EXPECT_EQ(root.signals.back().words, (std::set<std::string>{"Pid"}));
  registry.change(id, [](worker::Worker& worker) { worker.pid = 8; });
  registry.change(id, [](worker::Worker& worker) { worker.pid = 7; });
  EXPECT_EQ(root.property(path, worker1, "Pid"), "7");
  EXPECT_EQ(root.signals_of(path, "PropertiesChanged").size(), 1U);
}

TEST_F(BusWorker, tells_of_limits) {
  root.record();
  service->on_limit_hit(id, "memory");
  service->on_limit_hit(WorkerId{"nobody"}, "memory");
  ASSERT_TRUE(root.wait_signal(path, "LimitHit"));
  EXPECT_EQ(root.signals.back().words, (std::set<std::string>{"memory"}));
}

TEST_F(BusWorker, shows_a_path_that_is_no_text) {
  registry.change(id, [](worker::Worker& worker) { worker.workspace = "/srv/\xff"; });
  EXPECT_EQ(root.property(path, worker1, "Workspace"), "/srv/\\xff");
  EXPECT_TRUE(root.call("/org/hal9000", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects").ok());
}

TEST_F(BusWorker, has_no_property_that_can_be_set) {
  for (const char* name : {"Name", "State", "MemoryMax"}) {
    const auto answer = root.call(path, properties, "Set", "ssv", worker1, name, "s", "x");
    EXPECT_EQ(answer.error(), "org.freedesktop.DBus.Error.PropertyReadOnly");
  }
}

class BusServer : public ::testing::Test, public BusTest {
 protected:
  Client root{loop, daemon.address(), 0};
  const std::string path = "/org/hal9000/server/memory_2dbank";
};

TEST_F(BusServer, passes_its_calls_on) {
  servers.call_result = R"({"tools":[]})";
  EXPECT_TRUE(root.call(path, server1, "Start").ok());
  EXPECT_TRUE(root.call(path, server1, "Stop").ok());
  EXPECT_TRUE(root.call(path, server1, "Restart").ok());
  EXPECT_EQ(root.call(path, server1, "Call", "ss", "tools/list", "{}").text(), R"({"tools":[]})");
  EXPECT_EQ(servers.calls, (std::vector<std::string>{"start memory-bank", "stop memory-bank", "restart memory-bank",
                                                     "call memory-bank tools/list {}"}));
  servers.next_error = Error{Errc::unavailable, "it ended with code 1"};
  EXPECT_EQ(root.call(path, server1, "Start").error(), "org.hal9000.Error.Unavailable");
  EXPECT_EQ(root.call(path, server1, "Call", "ss", "", "").error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(root.call(path, server1, "Call", "ss", "m", std::string((16U << 20) + 1, ' ').c_str()).error(),
            "org.hal9000.Error.LimitExceeded");
}

TEST_F(BusServer, shows_state_and_statistics) {
  servers.numbers["memory-bank"] = {
      .sessions = 2, .requests = 30, .errors = 4, .protocol_version = "2025-06-18", .server_info = "{}"};
  EXPECT_EQ(root.property(path, server1, "Name"), "memory-bank");
  EXPECT_EQ(root.property(path, server1, "State"), "running");
  EXPECT_EQ(root.property(path, server1, "Mode"), "shared");
  EXPECT_EQ(root.property(path, server1, "Sessions"), "2");
  EXPECT_EQ(root.property(path, server1, "Requests"), "30");
  EXPECT_EQ(root.property(path, server1, "Errors"), "4");
  EXPECT_EQ(root.property(path, server1, "ProtocolVersion"), "2025-06-18");
  auto& numbers = servers.numbers["memory-bank"];
  numbers.calls = 20;
  numbers.refused = 3;
  numbers.received_bytes = 100;
  numbers.sent_bytes = std::uint64_t{1} << 40;
  EXPECT_EQ(root.property(path, server1, "ToolCalls"), "20");
  EXPECT_EQ(root.property(path, server1, "RefusedCalls"), "3");
  EXPECT_EQ(root.property(path, server1, "BytesReceived"), "100");
  EXPECT_EQ(root.property(path, server1, "BytesSent"), "1099511627776");
}

TEST_F(BusServer, comes_changes_and_goes) {
  root.record();
  auto& server = servers.servers.at("memory-bank");
  server.state = server::State::backoff;
  server.reason = "exited with code 1";
  server.unit = "u.service";
  server.main_pid = 5;
  server.restarts = 1;
  server.config.mode = server::Mode::session;
  servers.numbers["memory-bank"] = {
      .sessions = 2, .requests = 30, .errors = 4, .protocol_version = "2025-06-18", .server_info = "{}"};
  service->on_server_changed("memory-bank");
  service->on_server_changed("memory-bank");
  ASSERT_TRUE(root.wait_signal(path, "PropertiesChanged"));
  EXPECT_EQ(root.signals.back().words, (std::set<std::string>{"State", "Reason", "Mode", "Unit", "MainPID", "Restarts",
                                                              "ProtocolVersion", "ServerInfo"}));
  servers.servers.clear();
  service->on_server_removed("memory-bank");
  ASSERT_TRUE(root.wait_signal("/org/hal9000", "InterfacesRemoved"));
  EXPECT_EQ(root.call(path, server1, "Start").error(), "org.freedesktop.DBus.Error.UnknownObject");
  EXPECT_EQ(root.signals_of(path, "").size(), 1U);
}

class BusParent : public ::testing::Test, public BusTest {
 protected:
  Client root{loop, daemon.address(), 0};
  const std::string path = "/org/hal9000/parent";
};

TEST_F(BusParent, is_shown_and_restarted) {
  EXPECT_EQ(root.property(path, parent1, "State"), "running");
  EXPECT_EQ(root.property(path, parent1, "Pid"), "42");
  EXPECT_EQ(root.property(path, parent1, "ChromaHealth"), "healthy");
  EXPECT_TRUE(root.call(path, parent1, "RestartChroma").ok());
  EXPECT_EQ(parent.chroma_restarts, 1);

  root.record();
  parent.state_now = worker::Parent::State::degraded;
  parent.reason_now = "no heartbeat";
  parent.container_now = {"x"};
  parent.pid_now = 43;
  parent.chroma_now = {"y"};
  parent.health_now = "unhealthy";
  service->on_parent_changed();
  ASSERT_TRUE(root.wait_signal(path, "PropertiesChanged"));
  EXPECT_EQ(root.signals.back().words,
            (std::set<std::string>{"State", "Reason", "ContainerId", "Pid", "ChromaContainerId", "ChromaHealth"}));
}

}  // namespace
}  // namespace hal::test
