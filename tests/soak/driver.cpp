#include "daemon/data_plane.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "fakes/bus_fakes.hpp"
#include "io/line_channel.hpp"
#include "io/listener.hpp"
#include "json/json.hpp"
#include "server/child_launcher.hpp"
#include "server/supervisor.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

/**
 * hal9000d's data plane and supervisor as they are, with workers that are only sockets and tokens: no engine, no bus.
 *
 *   soak_driver SOCKET FOLDER WORKERS REQUEST_TIMEOUT_MS PROGRAM ARGUMENT…
 *
 * SOCKET is where a gateway listens for its daemon. PROGRAM is an MCP server, configured as "session" and, twice in
 * mode shared, as "shared" and "steady". Prints the port of MCP over HTTP; worker N has the socket FOLDER/wN.sock and
 * the token wN.secret. Answers each line on stdin with one line of JSON: what the daemon tells of its servers. Ends
 * with stdin.
 */
namespace {

using namespace hal;
using namespace std::chrono_literals;

/** A server that nobody uses for so long is ended: at the end of the soak that shows that nothing is open. */
constexpr auto idle_timeout = 2s;

/** A free port of 127.0.0.1. */
UniqueFd listen_tcp(int& port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), generic, size) != 0 || ::listen(fd.get(), 64) != 0 ||
      ::getsockname(fd.get(), generic, &size) != 0) {
    throw_errno("a listening socket");
  }
  port = ntohs(address.sin_port);
  return fd;
}

/** Workers that run for ever; their sockets are made anew for each gateway, as the real registry does. */
class Workers final : public test::FakeRegistry {
 public:
  Workers(event::Loop& loop, std::string folder, int count) : FakeRegistry(loop), folder_(std::move(folder)) {
    for (int i = 0; i < count; ++i) {
      worker::Worker worker;
      worker.id = {"w" + std::to_string(i)};
      worker.name = worker.id.value;
      worker.state = worker::State::running;
      worker.servers = {"session", "shared", "steady"};
      add(std::move(worker));
    }
  }
  Result<UniqueFd> reopen_gateway_socket(const WorkerId& id) override {
    return io::listen_unix(folder_ + "/" + id.value + ".sock", SOCK_STREAM, 0600);
  }

 private:
  std::string folder_;
};

struct Options {
  std::string socket;
  std::string folder;
  int workers = 0;
  std::chrono::milliseconds request_timeout{0};
  std::vector<std::string> program;
};

class Driver final : private server::Supervisor::Listener {
 public:
  Driver(event::Loop& loop, const Options& options)
      : loop_(loop),
        workers_(loop, options.folder, options.workers),
        launcher_(loop),
        data_plane_(loop, workers_, {.unit_socket = options.socket, .program = {}}),
        supervisor_(loop, launcher_, static_cast<server::Supervisor::Listener&>(*this), backoff()),
        http_(listen_tcp(port_)),
        commands_(loop, UniqueFd(::dup(STDIN_FILENO)), UniqueFd(::dup(STDOUT_FILENO)), "commands",
                  {.on_line = [this](std::string_view) { (void)commands_.write_line(json::dump(status())); },
                   .on_overlong = [](std::size_t) {},
                   .on_closed = [this](const Error&) { stop(); },
                   .on_drained = {},
                   .on_broken = {}}) {
    data_plane_.set_supervisor(&supervisor_);
    data_plane_.set_token_of([](const WorkerId& id) { return id.value + ".secret"; });
    data_plane_.set_grants_of([](const worker::Worker&) { return std::vector<const policy::Grant*>(); });
    data_plane_.set_on_gateway([this](const std::optional<std::vector<std::string>>& networks) {
      if (networks && networks->empty()) {
        data_plane_.serve_http("soak", WorkerId(), UniqueFd(::fcntl(http_.get(), F_DUPFD_CLOEXEC, 0)));
      }
    });
    supervisor_.apply({config(options, "session", server::Mode::session),
                       config(options, "shared", server::Mode::shared),
                       config(options, "steady", server::Mode::shared)});
    data_plane_.start();
    data_plane_.on_workers_reconciled();
    std::printf("%d\n", port_);
    std::fflush(stdout);
  }

 private:
  /** Servers die here all the time; they are not to be given up. */
  static server::Supervisor::Options backoff() {
    server::Supervisor::Options options;
    options.backoff.first = 20ms;
    options.backoff.max = 500ms;
    options.backoff.stable = 2s;
    options.backoff.max_failures = SIZE_MAX;
    return options;
  }

  static server::ServerConfig config(const Options& options, const std::string& name, server::Mode mode) {
    server::ServerConfig config;
    config.name = name;
    config.argv = options.program;
    config.state_directory = options.folder + "/state/" + name;
    config.mode = mode;
    config.stop_timeout = 500ms;
    config.max_sessions = 128;
    config.max_requests = 4096;
    config.request_timeout = options.request_timeout;
    if (mode == server::Mode::shared) {
      config.idle_timeout = idle_timeout;
    }
    config.audit = server::Audit::off;
    return config;
  }

  nlohmann::json status() const {
    nlohmann::json servers = nlohmann::json::object();
    for (const auto* server : supervisor_.all()) {
      const auto statistics = data_plane_.statistics(server->config.name);
      const auto& traffic = statistics.traffic;
      servers[server->config.name] = {
          {"state", std::string(server::name(server->state))},
          {"restarts", server->restarts},
          {"instances", server->instances},
          {"sessions", statistics.sessions.size()},
          {"requests", traffic.requests},
          {"calls", traffic.calls},
          {"errors", traffic.errors},
          {"refused", traffic.refused},
          {"received_bytes", traffic.received_bytes},
          {"sent_bytes", traffic.sent_bytes},
          {"answered", std::accumulate(traffic.latency.counts.begin(), traffic.latency.counts.end(), std::uint64_t{0})},
      };
    }
    return {{"connected", data_plane_.connected()}, {"servers", std::move(servers)}};
  }

  void stop() {
    supervisor_.stop_all([this](const Result<void>&) {
      data_plane_.stop();
      loop_.exit(0);
    });
  }

  void on_server_added(const server::Server& server) override { data_plane_.on_server_changed(server); }
  void on_server_changed(const server::Server& server) override { data_plane_.on_server_changed(server); }
  void on_server_removed(const std::string& name) override { data_plane_.on_server_removed(name); }
  void on_instance_ready(const std::string& server, InstanceId instance, const std::optional<std::string>& session,
                         UniqueFd to_server, UniqueFd from_server) override {
    data_plane_.on_instance_ready(server, instance, session, std::move(to_server), std::move(from_server));
  }
  void on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason) override {
    data_plane_.on_instance_gone(server, instance, reason);
  }
  void on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                             const std::string& reason, std::optional<std::chrono::milliseconds> retry_in) override {
    data_plane_.on_server_unavailable(server, session, reason, retry_in);
  }

  event::Loop& loop_;
  Workers workers_;
  server::ChildLauncher launcher_;
  daemon::DataPlane data_plane_;
  server::Supervisor supervisor_;
  int port_ = 0;
  UniqueFd http_;
  io::LineChannel commands_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 5) {
    std::fprintf(stderr, "usage: soak_driver SOCKET FOLDER WORKERS REQUEST_TIMEOUT_MS PROGRAM [ARGUMENT...]\n");
    return EXIT_FAILURE;
  }
  try {
    event::block_signals();
    event::Loop loop;
    Driver driver(loop, {words[0],
                         words[1],
                         std::atoi(words[2].c_str()),
                         std::chrono::milliseconds(std::atoi(words[3].c_str())),
                         {words.begin() + 4, words.end()}});
    return loop.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "soak_driver: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
