#include "base/log.hpp"
#include "hub_support.hpp"
#include "io/listener.hpp"
#include "link/daemon_end.hpp"
#include "process/child.hpp"
#include "process/fork_task.hpp"
#include "process/spawn.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

/** The real hal9000-gateway with real servers; the test plays hal9000d, which starts processes when asked. */
namespace hal::hub::test {
namespace {

using hal::test::run_until;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/** The part of hal9000d that the gateway sees. */
class Daemon final : public link::DaemonEndListener {
 public:
  explicit Daemon(event::Loop& loop) : loop_(loop) {}

  void connect(UniqueFd socket) { end = std::make_unique<link::DaemonEnd>(loop_, std::move(socket), *this); }

  void on_hello(const link::GatewayHello& message) override {
    hello = message;
    for (const auto& [name, argv] : servers) {
      link::ServerSet server;
      server.name = name;
      server.mode = modes[name];
      send(std::move(server));
    }
  }
  void on_instance_request(const link::InstanceRequest& request) override {
    if (servers.at(request.server).empty()) {
      return send(link::ServerUnavailable{request.server, request.session, "no such program", 100});
    }
    start(request.server, request.session);
  }
  void on_instance_release(const link::InstanceRelease& message) override {
    ++released;
    if (const auto found = running.find(message.instance.value); found != running.end()) {
      found->second->kill_group(SIGKILL);
    }
  }
  void on_server_report(const link::ServerReport& message) override { reports[message.name] = message; }
  void on_worker_report(const link::WorkerReport&) override {}
  void on_call_result(const link::CallResult& message) override { results.emplace(message.id, message.result); }
  void on_link_closed(const Error&) override { closed = true; }

  void send(link::ToGateway message) { ASSERT_TRUE(end->send(std::move(message)).has_value()); }

  void start(const std::string& server, std::optional<link::SessionId> session) {
    auto in = hal::test::make_pipe();
    auto out = hal::test::make_pipe();
    const InstanceId instance{++started};
    process::SpawnSpec spec;
    spec.argv = servers[server];
    spec.env = {"PATH=" + environment("PATH"), "HOME=/tmp", "MCP_FAKE_LOG=" + log_file};
    spec.fds = {{0, in.read.get()}, {1, out.write.get()}};
    const auto pid = process::spawn(spec);
    ASSERT_TRUE(pid.has_value()) << pid.error().message;
    running[instance.value] = std::make_unique<process::Child>(
        loop_, *pid, server, [this, server, instance](const process::ExitStatus& status) {
          if (end && !closed) {
            (void)end->send(link::InstanceGone{server, instance, status.describe()});
          }
          gone.insert(instance.value);
        });
    send(link::InstanceAttach{server, instance, session, std::move(in.write), std::move(out.read)});
  }

  std::unique_ptr<link::DaemonEnd> end;
  std::optional<link::GatewayHello> hello;
  std::map<std::string, std::vector<std::string>> servers;
  std::map<std::string, link::ServerMode> modes;
  std::map<std::uint64_t, std::unique_ptr<process::Child>> running;
  std::set<std::uint64_t> gone;
  std::map<std::string, link::ServerReport> reports;
  std::map<std::uint64_t, Result<std::string>> results;
  std::string log_file = "/dev/null";
  std::uint64_t started = 0;
  int released = 0;
  bool closed = false;

 private:
  event::Loop& loop_;
};

class Gateway : public testing::Test {
 public:
  Gateway() {
    log::set_max_level(log::Level::error);
    daemon.log_file = folder / "messages";
  }

  void serve(const std::string& name, std::vector<std::string> argv, link::ServerMode mode = link::ServerMode::shared) {
    daemon.servers[name] = std::move(argv);
    daemon.modes[name] = mode;
  }
  void serve_fake(std::vector<std::string> arguments = {}, link::ServerMode mode = link::ServerMode::shared) {
    arguments.insert(arguments.begin(), {"python3", environment("HAL9000_FAKE_MCP_SERVER")});
    serve("fake", std::move(arguments), mode);
  }

  void spawn_gateway(std::vector<std::string> argv, int fd) {
    process::SpawnSpec spec;
    spec.argv = std::move(argv);
    spec.env = {"PATH=" + environment("PATH"), "LISTEN_FDS=1"};
    spec.fds = {{2, quiet.get()}, {3, fd}};
    const auto pid = process::spawn(spec);
    ASSERT_TRUE(pid.has_value()) << pid.error().message;
    gateway = std::make_unique<process::Child>(loop, *pid, "gateway",
                                               [this](const process::ExitStatus& status) { exit = status; });
  }

  /** As hal9000d's child. */
  void start() {
    auto pair = std::move(*io::socket_pair(SOCK_SEQPACKET));
    spawn_gateway({environment("HAL9000_GATEWAY"), "--link-fd", "3"}, pair.theirs.get());
    pair.theirs.reset();
    daemon.connect(std::move(pair.ours));
    ASSERT_TRUE(run_until(loop, [&] { return daemon.hello.has_value(); }));
    add_worker("a");
    add_worker("b");
  }

  void add_worker(const std::string& id) {
    auto listener = io::listen_unix(folder / (id + ".sock"), SOCK_STREAM, 0600);
    ASSERT_TRUE(listener.has_value());
    std::vector<std::string> names;
    for (const auto& [name, argv] : daemon.servers) {
      names.push_back(name);
    }
    daemon.send(link::WorkerAdd{{id}, 1000, names, std::move(*listener)});
  }

  std::unique_ptr<RelayPeer> client(const std::string& worker, const std::string& server,
                                    const Json& capabilities = Json::object()) {
    auto peer =
        std::make_unique<RelayPeer>(loop, std::move(*io::connect_unix(folder / (worker + ".sock"), SOCK_STREAM)));
    peer->initialize(server, capabilities);
    const auto answer = peer->next();
    EXPECT_TRUE(answer.contains("result")) << answer;
    server_info = answer["result"]["serverInfo"];
    peer->notify("notifications/initialized");
    return peer;
  }

  /** The answer to this id; notifications before it are dropped. */
  static Json answer_to(RelayPeer& peer, const Json& id) {
    for (;;) {
      auto message = peer.next();
      if (message.empty() || (message.contains("id") && message["id"] == id && !message.contains("method"))) {
        return message;
      }
    }
  }

  static Json tool(const Json& id, const std::string& name, const Json& arguments = Json::object()) {
    return request(id, "tools/call", {{"name", name}, {"arguments", arguments}});
  }

  /** What the fake server was sent with this method, waited for by asking it something else in between. */
  std::vector<Json> received(const std::string& method) const {
    std::vector<Json> found;
    std::ifstream file(daemon.log_file);
    for (std::string line; std::getline(file, line);) {
      auto message = Json::parse(line);
      if (message.value("method", "") == method) {
        found.push_back(std::move(message));
      }
    }
    return found;
  }

  event::Loop loop;
  hal::test::TempDir folder;
  Daemon daemon{loop};
  UniqueFd quiet{::memfd_create("gateway's log", MFD_CLOEXEC)};
  std::unique_ptr<process::Child> gateway;
  std::optional<process::ExitStatus> exit;
  Json server_info;
};

/** The folder with the real servers of the npm registry. */
class RealServers : public Gateway {
 public:
  static void SetUpTestSuite() {
    FILE* script = ::popen(environment("HAL9000_TEST_MCP_SERVERS").c_str(), "r");  // NOLINT(cert-env33-c): our own
    char line[4096] = "";
    const bool read = script != nullptr && std::fgets(line, sizeof line, script) != nullptr;
    if (script != nullptr && ::pclose(script) == 0 && read) {
      servers = line;
      servers.pop_back();
    }
  }
  void SetUp() override {
    if (servers.empty()) {
      GTEST_SKIP() << "the npm registry is not reachable";
    }
  }
  static std::vector<std::string> program(const std::string& name) {
    return {"node", servers + "/node_modules/.bin/" + name};
  }

  inline static std::string servers;
};

TEST_F(RealServers, two_workers_share_the_everything_server) {
  serve("everything", program("mcp-server-everything"));
  start();
  auto a = client("a", "everything");
  auto b = client("b", "everything");
  EXPECT_EQ(daemon.started, 1U);
  a->send(request(1, "tools/list"));
  b->send(tool(1, "echo", {{"message", "from b"}}));
  a->send(tool(2, "echo", {{"message", "from a"}}));
  EXPECT_GT(answer_to(*a, 1)["result"]["tools"].size(), 5U);
  EXPECT_NE(answer_to(*b, 1)["result"].dump().find("from b"), std::string::npos);
  EXPECT_NE(answer_to(*a, 2)["result"].dump().find("from a"), std::string::npos);

  // Progress of a long operation reaches the one who asked, under its own token, before the result.
  auto long_one = tool("long", "trigger-long-running-operation", {{"duration", 0.2}, {"steps", 4}});
  long_one["params"]["_meta"] = {{"progressToken", "mine"}};
  a->send(long_one);
  for (int step = 1; step <= 4; ++step) {
    const auto progress = a->next();
    ASSERT_EQ(progress["method"], "notifications/progress") << progress;
    EXPECT_EQ(progress["params"]["progressToken"], "mine");
    EXPECT_EQ(progress["params"]["progress"], step);
  }
  EXPECT_EQ(a->next()["id"], "long");
  b->send(request(3, "resources/list"));
  EXPECT_TRUE(answer_to(*b, 3).contains("result"));
  b->send(request(4, "prompts/list"));
  EXPECT_TRUE(answer_to(*b, 4).contains("result"));
}

TEST_F(RealServers, each_worker_has_its_own_train_of_thought) {
  serve("thinking", program("mcp-server-sequential-thinking"), link::ServerMode::session);
  start();
  auto a = client("a", "thinking");
  auto b = client("b", "thinking");
  EXPECT_EQ(daemon.started, 2U);
  const auto think = [&](RelayPeer& peer, int number) {
    peer.send(tool(number, "sequentialthinking",
                   {{"thought", "t"}, {"thoughtNumber", number}, {"totalThoughts", 3}, {"nextThoughtNeeded", true}}));
    const auto result = answer_to(peer, number)["result"];
    return Json::parse(result["content"][0]["text"].get<std::string>())["thoughtHistoryLength"];
  };
  EXPECT_EQ(think(*a, 1), 1);
  EXPECT_EQ(think(*a, 2), 2);
  EXPECT_EQ(think(*b, 1), 1);
  a->hang_up();
  EXPECT_TRUE(run_until(loop, [&] { return daemon.gone.size() == 1; }));
  EXPECT_EQ(think(*b, 2), 2);
}

TEST_F(Gateway, twenty_real_clients_at_once_share_one_handshake) {
  serve_fake();
  start();
  std::vector<std::unique_ptr<RelayPeer>> peers;
  for (int i = 0; i < 20; ++i) {
    peers.push_back(std::make_unique<RelayPeer>(
        loop, std::move(*io::connect_unix(folder / (i % 2 == 0 ? "a.sock" : "b.sock"), SOCK_STREAM))));
    peers.back()->initialize("fake");
  }
  for (auto& peer : peers) {
    EXPECT_EQ(answer_to(*peer, 0)["result"]["serverInfo"]["name"], "fake");
  }
  EXPECT_EQ(daemon.started, 1U);
  EXPECT_EQ(received("initialize").size(), 1U);
}

TEST_F(Gateway, the_server_sees_a_cancellation_under_the_id_it_knows) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  a->send(tool(7, "hang"));
  a->notify("notifications/cancelled", {{"requestId", 7}});
  EXPECT_EQ(a->ask(8, "tools/list")["id"], 8);
  const auto calls = received("tools/call");
  const auto cancellations = received("notifications/cancelled");
  ASSERT_EQ(calls.size(), 1U);
  ASSERT_EQ(cancellations.size(), 1U);
  EXPECT_EQ(cancellations[0]["params"]["requestId"], calls[0]["id"]);
}

TEST_F(Gateway, a_vanished_clients_calls_are_cancelled_and_the_others_go_on) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  auto b = client("b", "fake");
  a->send(tool("same", "hang"));
  ASSERT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].requests >= 3; }));
  a->hang_up();
  b->send(tool("same", "echo", {{"x", 1}}));
  EXPECT_EQ(b->next()["id"], "same");
  ASSERT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].sessions == 1; }));
  EXPECT_EQ(b->ask(1, "tools/list")["id"], 1);
  EXPECT_EQ(received("notifications/cancelled").size(), 1U);
}

TEST_F(Gateway, a_crash_in_mid_call_is_answered_and_survived) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  auto b = client("b", "fake");
  const auto first_process = server_info["version"];
  a->send(tool(1, "hang"));
  b->send(tool(1, "crash", {{"code", 3}}));
  for (auto* peer : {a.get(), b.get()}) {
    const auto failed = answer_to(*peer, 1);
    EXPECT_EQ(failed["error"]["code"], -32603);
    EXPECT_EQ(failed["error"]["message"], "server fake exited with code 3, restarting");
  }
  a->send(tool(2, "echo", {{"still", "here"}}));
  EXPECT_TRUE(answer_to(*a, 2).contains("result"));
  b->send(tool(2, "echo"));
  EXPECT_TRUE(answer_to(*b, 2).contains("result"));
  EXPECT_EQ(daemon.started, 2U);
  auto c = client("a", "fake");
  EXPECT_NE(server_info["version"], first_process);
}

TEST_F(Gateway, garbage_half_lines_double_answers_and_200_mib_lines_are_no_answers) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  a->send(tool(1, "garbage"));
  EXPECT_EQ(answer_to(*a, 1)["result"]["content"][0]["text"], "after garbage");
  a->send(tool(2, "twice"));
  EXPECT_EQ(answer_to(*a, 2)["result"]["content"][0]["text"], "first");
  a->send(tool(3, "huge", {{"bytes", 200 << 20}}));
  const auto failed = answer_to(*a, 3);
  EXPECT_EQ(failed["error"]["code"], -32603);
  EXPECT_NE(failed["error"]["message"].get<std::string>().find("209715"), std::string::npos) << failed;
  a->send(tool(4, "huge", {{"bytes", 8 << 20}}));
  EXPECT_EQ(answer_to(*a, 4)["result"]["content"][0]["text"].get<std::string>().size(), std::size_t{8} << 20);
  a->send(tool(5, "half"));
  EXPECT_EQ(answer_to(*a, 5)["error"]["message"], "server fake exited with code 0, restarting");
}

TEST_F(Gateway, a_server_that_never_starts_right_is_told_to_every_client) {
  serve_fake({"--crash-at-start"});
  serve("missing", {});
  start();
  auto peer = std::make_unique<RelayPeer>(loop, std::move(*io::connect_unix(folder / "a.sock", SOCK_STREAM)));
  peer->initialize("fake");
  EXPECT_EQ(peer->next()["error"]["message"], "server fake exited with code 1");
  auto other = std::make_unique<RelayPeer>(loop, std::move(*io::connect_unix(folder / "a.sock", SOCK_STREAM)));
  other->initialize("missing");
  EXPECT_EQ(other->next()["error"]["message"], "server missing is not available: no such program");
}

TEST_F(Gateway, a_session_process_crashes_alone) {
  serve_fake({}, link::ServerMode::session);
  start();
  auto a = client("a", "fake");
  auto b = client("b", "fake");
  EXPECT_EQ(daemon.started, 2U);
  a->send(tool("c", "crash", {{"code", 5}}));
  EXPECT_EQ(answer_to(*a, "c")["error"]["message"], "server fake exited with code 5");
  EXPECT_TRUE(run_until(loop, [&] { return a->closed; }));
  b->send(tool(1, "echo"));
  EXPECT_TRUE(answer_to(*b, 1).contains("result"));
}

TEST_F(Gateway, the_daemon_calls_a_tool_and_sees_the_counters) {
  serve_fake();
  start();
  daemon.send(link::Call{5, "fake", "tools/call", R"({"name":"echo","arguments":{"k":1}})"});
  ASSERT_TRUE(run_until(loop, [&] { return daemon.results.contains(5); }));
  ASSERT_TRUE(daemon.results.at(5).has_value()) << daemon.results.at(5).error().message;
  EXPECT_EQ(Json::parse(*daemon.results.at(5))["content"][0]["text"], "{\"k\": 1}");
  ASSERT_TRUE(run_until(loop, [&] { return !daemon.reports["fake"].protocol_version.empty(); }));
  EXPECT_EQ(daemon.reports["fake"].protocol_version, "2025-11-25");
}

TEST_F(Gateway, sigterm_answers_what_is_open_and_exits_in_order) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  a->send(tool(1, "hang"));
  ASSERT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].requests >= 2; }));
  gateway->kill_group(SIGTERM);
  EXPECT_EQ(a->next()["error"]["message"], "server fake the gateway is stopping");
  ASSERT_TRUE(run_until(loop, [&] { return exit.has_value() && a->closed; }));
  EXPECT_EQ(exit->code, 0);
  EXPECT_EQ(daemon.released, 1);
}

TEST_F(Gateway, a_child_ends_when_its_daemon_is_gone) {
  serve_fake();
  start();
  daemon.end.reset();
  daemon.closed = true;
  ASSERT_TRUE(run_until(loop, [&] { return exit.has_value(); }));
  EXPECT_EQ(exit->code, 0);
}

/** A gateway with a socket of its own, as its unit starts it. */
class GatewayUnit : public Gateway {
 public:
  GatewayUnit() {
    ::chmod(folder.path().c_str(), 0755);
    listener = std::move(*io::listen_unix(folder / "link.sock", SOCK_SEQPACKET, 0666));
    // LISTEN_PID is the process's own, which only the process knows.
    spawn_gateway({"sh", "-c", "LISTEN_PID=$$ exec " + environment("HAL9000_GATEWAY")}, listener.get());
    serve_fake();
  }
  UniqueFd connection() { return std::move(*io::connect_unix(folder / "link.sock", SOCK_SEQPACKET)); }

  UniqueFd listener;
};

TEST_F(GatewayUnit, sessions_and_calls_outlive_the_daemon) {
  daemon.connect(connection());
  ASSERT_TRUE(run_until(loop, [&] { return daemon.hello.has_value(); }));
  EXPECT_TRUE(daemon.hello->workers.empty());
  add_worker("a");
  auto a = client("a", "fake");
  a->send(tool(1, "echo"));
  EXPECT_TRUE(answer_to(*a, 1).contains("result"));

  daemon.end.reset();  // the daemon is killed; its servers are units of their own
  a->send(tool(2, "echo"));
  EXPECT_TRUE(answer_to(*a, 2).contains("result"));

  daemon.hello.reset();
  daemon.connect(connection());
  ASSERT_TRUE(run_until(loop, [&] { return daemon.hello.has_value(); }));
  ASSERT_EQ(daemon.hello->workers.size(), 1U);
  EXPECT_EQ(daemon.hello->workers[0].value, "a");
  ASSERT_EQ(daemon.hello->instances.size(), 1U);
  EXPECT_EQ(daemon.hello->instances[0].server, "fake");
  EXPECT_EQ(daemon.hello->instances[0].instance.value, 1U);
  a->send(tool(3, "crash", {{"code", 4}}));
  EXPECT_EQ(answer_to(*a, 3)["error"]["message"], "server fake exited with code 4, restarting");
  a->send(tool(4, "echo"));
  EXPECT_TRUE(answer_to(*a, 4).contains("result"));
}

TEST_F(GatewayUnit, only_root_and_its_own_user_may_hold_the_link) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root to become somebody else";
  }
  std::optional<std::string> seen;
  process::ForkTask stranger(
      loop, "stranger", hal::test::scaled(10s),
      [this]() -> Result<process::TaskOutput> {
        if (::setresuid(65534, 65534, 65534) != 0) {
          return errno_error("setresuid");
        }
        auto socket = io::connect_unix(folder / "link.sock", SOCK_SEQPACKET);
        if (!socket) {
          return socket.error();
        }
        return process::TaskOutput{{}, hal::test::read_all(socket->get()).empty() ? "shut out" : "let in"};
      },
      [&](Result<process::TaskOutput> output) { seen = output ? output->text : output.error().message; });
  ASSERT_TRUE(run_until(loop, [&] { return seen.has_value(); }));
  EXPECT_EQ(*seen, "shut out");
}

}  // namespace
}  // namespace hal::hub::test
