#include "event/sources.hpp"
#include "gateway.hpp"
#include "http_client.hpp"
#include "measure.hpp"
#include "stdio_client.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/**
 * How long a call takes over Streamable HTTP and the gateway, at the server's address and at that of all servers,
 * against direct stdio to the same server and against other bridges before it, in one run. Sequential calls use one
 * connection, those in flight sixteen of one session. Rounds take turns, so that what else the machine does hits all
 * alike. Prints medians and ratios.
 */
namespace {

using namespace hal;
using namespace bench;

constexpr int rounds = 7;
constexpr int sequential_calls = 1000;
constexpr int parallel_calls = 8000;
constexpr int in_flight = 16;
constexpr int large_calls = 20;
constexpr std::size_t large_bytes = std::size_t{1} << 20;
/** Other bridges make fewer calls, and no large ones, which some refuse. */
constexpr int peer_share = 8;
/** The ways that are ours come first. */
constexpr std::size_t own_ways = 2;
constexpr auto peer_start = std::chrono::seconds(30);

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

struct Measured {
  std::vector<double> call_us;
  std::vector<double> calls_per_second;
  std::vector<double> large_us;
  double gateway_cpu = 0;
};

void measure_direct(Client& client, Measured& measured) {
  for (int i = 0; i < sequential_calls; ++i) {
    const auto line = client.call("hello");
    measured.call_us.push_back(1e6 * seconds_of([&] {
                                 client.send(line);
                                 client.receive(1);
                               }));
  }
  const double seconds = seconds_of([&] {
    for (int i = 0; i < in_flight; ++i) {
      client.send(client.call("hello"));
    }
    for (int i = in_flight; i < parallel_calls; ++i) {
      client.receive(1);
      client.send(client.call("hello"));
    }
    client.receive(in_flight);
  });
  measured.calls_per_second.push_back(parallel_calls / seconds);
  const std::string text(large_bytes, 'x');
  for (int i = 0; i < large_calls; ++i) {
    const auto line = client.call(text);
    measured.large_us.push_back(1e6 * seconds_of([&] { client.exchange(line); }));
  }
}

/** One way over HTTP. `calls` makes the messages; all connections are of one session. */
struct Way {
  std::string name;
  Place place;
  int share = 1;
  /** What the tool is called there. */
  std::string tool = "echo";
  std::vector<std::unique_ptr<Connection>> connections = {};
  std::string session = {};
  Measured measured = {};

  void open(const std::function<void()>& meanwhile) { session = open_session(place, meanwhile); }

  void measure(Client& calls) {
    connections.clear();  // some bridges close those that were idle while others had their turn
    for (int i = 0; i < in_flight; ++i) {
      connections.push_back(std::make_unique<Connection>(place, large_bytes));
    }
    auto& first = *connections.front();
    for (int i = 0; i < sequential_calls / share; ++i) {
      const auto line = calls.call("hello", tool);
      measured.call_us.push_back(1e6 * seconds_of([&] {
                                   first.send(session, line);
                                   first.receive();
                                 }));
    }
    measured.calls_per_second.push_back(parallel_calls / share / seconds_of([&] { in_parallel(calls); }));
    const std::string text(large_bytes, 'x');
    for (int i = 0; i < large_calls && share == 1; ++i) {
      const auto line = calls.call(text, tool);
      measured.large_us.push_back(1e6 * seconds_of([&] {
                                    first.send(session, line);
                                    first.receive();
                                  }));
    }
  }

  void in_parallel(Client& calls) {
    std::vector<pollfd> polled;
    for (const auto& connection : connections) {
      connection->send(session, calls.call("hello", tool));
      polled.push_back({connection->fd(), POLLIN, 0});
    }
    for (int done = 0, sent = in_flight; done < parallel_calls / share;) {
      (void)::poll(polled.data(), polled.size(), -1);
      for (std::size_t i = 0; i < polled.size(); ++i) {
        if ((polled[i].revents & POLLIN) == 0 || !connections[i]->receive_some()) {
          continue;
        }
        ++done;
        if (sent < parallel_calls / share) {
          ++sent;
          connections[i]->send(session, calls.call("hello", tool));
        }
      }
    }
  }
};

/** Another bridge: a command with {port} and {server} in it, words apart by blanks. */
class Peer {
 public:
  Peer(std::string command, const std::string& server) {
    auto free_port = tcp_socket();
    auto address = loopback(0);
    socklen_t size = sizeof address;
    if (::bind(free_port.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
        ::getsockname(free_port.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw_errno("bind");
    }
    free_port.reset();
    std::vector<std::string> words;
    for (std::istringstream in(std::move(command)); in >> words.emplace_back();) {
      auto& word = words.back();
      word = word == "{port}" ? std::to_string(ntohs(address.sin_port)) : word == "{server}" ? server : word;
    }
    words.pop_back();
    pid_ = run(words, 0, 2);
    place_ = {address, "/mcp", ""};
    await();
  }
  ~Peer() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  [[nodiscard]] const Place& place() const { return place_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  void await() const {
    const auto until = std::chrono::steady_clock::now() + peer_start;
    while (::connect(tcp_socket().get(), reinterpret_cast<const sockaddr*>(&place_.address), sizeof place_.address) !=
           0) {
      if (std::chrono::steady_clock::now() > until) {
        throw std::runtime_error("a peer does not listen");
      }
      ::poll(nullptr, 0, 50);
    }
  }

  pid_t pid_ = -1;
  Place place_;
};

void report(const Measured& plain, const std::vector<Way>& ways) {
  std::printf("%-14s %12s %14s %14s\n", "", "p50 call us", "calls/s at 16", "p50 1 MiB us");
  const auto line = [](const char* name, const Measured& one) {
    std::printf("%-14s %12.1f %14.0f %14.0f\n", name, median(one.call_us), median(one.calls_per_second),
                one.large_us.empty() ? 0 : median(one.large_us));
  };
  line("direct", plain);
  for (const auto& way : ways) {
    line(way.name.c_str(), way.measured);
  }
  const auto& http = ways.front().measured;
  const double added = median(http.call_us) - median(plain.call_us);
  std::printf("added to a call: %.1f us; throughput %.2f of direct; 1 MiB both ways %.2f of direct\n", added,
              median(http.calls_per_second) / median(plain.calls_per_second),
              median(http.large_us) / median(plain.large_us));
  for (std::size_t i = own_ways; i < ways.size(); ++i) {
    const auto& peer = ways[i].measured;
    std::printf("against %s: added %.2f of its %.1f us; throughput %.1f times\n", ways[i].name.c_str(),
                added / (median(peer.call_us) - median(plain.call_us)), median(peer.call_us) - median(plain.call_us),
                median(http.calls_per_second) / median(peer.calls_per_second));
  }
}

int run_all(const std::string& server, const std::string& gateway, const std::vector<std::string>& commands) {
  Daemon daemon({server, gateway, {}});
  auto direct = start({server});
  direct.initialize();
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<Way> ways;
  const auto authorization = "Authorization: Bearer " + Daemon::token() + "\r\n";
  ways.push_back({"http", {daemon.address(), "/mcp/echo", authorization}});
  ways.front().open([&] { daemon.turn_until([&] { return daemon.attached(); }); });
  ways.push_back({"http, all", {daemon.address(), "/mcp", authorization}, 1, "echo__echo"});
  ways.back().open([] {});
  for (const auto& command : commands) {
    peers.push_back(std::make_unique<Peer>(command, server));
    ways.push_back({"peer " + std::to_string(peers.size()), peers.back()->place(), peer_share});
    ways.back().open([] {});
  }
  Measured plain;
  for (int round = 0; round < rounds; ++round) {
    measure_direct(direct, plain);
    for (auto& way : ways) {
      const double before = cpu_seconds(daemon.gateway);
      way.measure(direct);
      way.measured.gateway_cpu += cpu_seconds(daemon.gateway) - before;
    }
  }
  report(plain, ways);
  constexpr auto calls = rounds * (sequential_calls + parallel_calls + large_calls);
  std::printf("gateway: %.1f us of CPU a call (large ones among them), %.1f at the address of all; resident %ld KiB\n",
              1e6 * ways[0].measured.gateway_cpu / calls, 1e6 * ways[1].measured.gateway_cpu / calls,
              resident_kib(daemon.gateway));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    std::printf("peer %zu: resident %ld KiB\n", i + 1, resident_kib(peers[i]->pid()));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s ECHO-SERVER GATEWAY ['PEER --port {port} -- {server}'…]\n", argv[0]);
    return 2;
  }
  hal::event::block_signals();
  try {
    return run_all(argv[1], argv[2], {argv + 3, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
