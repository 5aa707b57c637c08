#pragma once

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

using hal::test::run_until;

#if defined(__has_feature)
#define HAL_HAS_ASAN __has_feature(address_sanitizer)
#else
#define HAL_HAS_ASAN 0
#endif
/** A sanitizer keeps what was freed. */
inline constexpr bool sanitized = HAL_HAS_ASAN != 0;

inline std::string environment(const char* name) {
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

  /** What the gateway has resident, or another figure of its status. */
  [[nodiscard]] std::size_t resident_bytes(const std::string& figure = "VmRSS:") const {
    const auto status = hal::test::read_file("/proc/" + std::to_string(gateway->pid()) + "/status");
    return std::stoul(status.substr(status.find(figure) + figure.size())) << 10;
  }

  /** Since it had `before`, messages of this size have passed, one at a time, and a small one after them. */
  void expect_memory_of_one(std::size_t before, std::size_t message) const {
    if (sanitized) {
      return;
    }
    EXPECT_LT(resident_bytes("VmHWM:") - before, message + message / 4);
    EXPECT_LT(resident_bytes(), before + message / 4) << "it is given back";
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

  /** Its token is its id and ".secret". */
  void add_worker(const std::string& id) {
    auto listener = io::listen_unix(folder / (id + ".sock"), SOCK_STREAM, 0600);
    ASSERT_TRUE(listener.has_value());
    std::vector<std::string> names;
    for (const auto& [name, argv] : daemon.servers) {
      names.push_back(name);
    }
    daemon.send(link::WorkerAdd{{id}, 1000, names, std::move(*listener), id + ".secret"});
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

}  // namespace hal::hub::test
