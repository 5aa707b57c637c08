#include "event/sources.hpp"
#include "gateway.hpp"
#include "http_client.hpp"
#include "measure.hpp"
#include "stdio_client.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/**
 * What many sessions at one shared server get and cost: how evenly they are served, what the gateway has resident for
 * sessions that do nothing, what it does while nobody does anything, and how far a message of 64 MiB swells it.
 */
namespace {

using namespace hal;
using namespace bench;

constexpr int busy_sessions = 64;
constexpr int in_flight = 16;
constexpr auto busy_time = std::chrono::seconds(5);
constexpr int idle_sessions[] = {64, 1000};
constexpr int sessions_per_worker = 60;
/** Until the counters have been reported. */
constexpr int settling_milliseconds = 2000;
constexpr int idle_milliseconds = 10000;
/** Until what a large message leaves behind has been given back. */
constexpr int resting_milliseconds = 500;
/** As large as a message may be, with what is around the text. */
constexpr std::size_t large_bytes = (std::size_t{64} << 20) - 4096;

/** A session over a socket as the relay has it, without the relay. */
std::unique_ptr<Client> open_socket(Daemon& daemon, int worker, int& fd) {
  auto socket = io::connect_unix(daemon.socket_path(worker), SOCK_STREAM).value();
  fd = socket.get();
  ::fcntl(fd, F_SETFL, 0);
  UniqueFd other(::dup(fd));
  auto client = std::make_unique<Client>(std::move(socket), std::move(other));
  client->send("{\"hal9000\":1,\"server\":\"echo\"}\n");
  client->receive(1);
  client->start_initialize();
  daemon.turn_until([&] { return daemon.attached(); });
  client->finish_initialize();
  return client;
}

Place place(const Daemon& daemon, int worker = 0) {
  return {daemon.address(), "/mcp/echo", "Authorization: Bearer " + Daemon::token(worker) + "\r\n"};
}

/** Calls answered, the fewest and the most of one session. */
void measure_fairness(Daemon& daemon) {
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<pollfd> polled;
  for (int i = 0; i < busy_sessions; ++i) {
    clients.push_back(open_socket(daemon, i / sessions_per_worker, polled.emplace_back().fd));
    polled.back().events = POLLIN;
  }
  for (const auto& client : clients) {
    for (int i = 0; i < in_flight; ++i) {
      client->send(client->call("hello"));
    }
  }
  std::vector<long> served(clients.size());
  const auto end = std::chrono::steady_clock::now() + busy_time;
  while (std::chrono::steady_clock::now() < end) {
    (void)::poll(polled.data(), polled.size(), 1000);
    for (std::size_t i = 0; i < polled.size(); ++i) {
      for (int lines = polled[i].revents != 0 ? clients[i]->receive_some() : 0; lines > 0; --lines) {
        ++served[i];
        clients[i]->send(clients[i]->call("hello"));
      }
    }
  }
  const auto [fewest, most] = std::minmax_element(served.begin(), served.end());
  std::printf("%d sessions, %d in flight each, for %lld s: fewest %ld, most %ld calls served, ratio %.2f\n",
              busy_sessions, in_flight, static_cast<long long>(busy_time.count()), *fewest, *most,
              static_cast<double>(*most) / static_cast<double>(std::max(*fewest, 1L)));
}

struct Activity {
  double cpu;
  long switches;
};

Activity activity(pid_t pid) {
  return {cpu_seconds(pid), status_of(pid, "voluntary_ctxt_switches")};
}

void report_idle(const char* how, int count, pid_t gateway) {
  ::poll(nullptr, 0, settling_milliseconds);
  const auto begin = activity(gateway);
  ::poll(nullptr, 0, idle_milliseconds);
  const auto end = activity(gateway);
  std::printf("%5d idle sessions %-18s %6ld KiB resident; in %d s %.0f us of CPU, %ld wake-ups\n", count, how,
              resident_kib(gateway), idle_milliseconds / 1000, 1e6 * (end.cpu - begin.cpu),
              end.switches - begin.switches);
}

/** Each way in a gateway of its own, so that no way has what another has left. */
void measure_idle(const Programs& programs) {
  {
    Daemon daemon(programs);
    report_idle("", 0, daemon.gateway);
  }
  for (const int count : idle_sessions) {
    const int workers = count / sessions_per_worker + 1;
    {
      Daemon daemon(programs, workers);
      std::vector<std::unique_ptr<Client>> clients;
      int fd = -1;
      for (int i = 0; i < count; ++i) {
        clients.push_back(open_socket(daemon, i / sessions_per_worker, fd));
      }
      report_idle("by socket", count, daemon.gateway);
    }
    Daemon daemon(programs, workers);
    for (int i = 0; i < count; ++i) {
      (void)open_session(place(daemon, i / sessions_per_worker),
                         [&] { daemon.turn_until([&] { return daemon.attached(); }); });
    }
    report_idle("by HTTP", count, daemon.gateway);
  }
}

/** The most it had resident while `work` was done, and what it has at rest before and after it. */
void report_peak(const char* way, const char* program, pid_t pid, const std::function<void()>& work) {
  ::poll(nullptr, 0, resting_milliseconds);
  const long before = resident_kib(pid);
  std::ofstream("/proc/" + std::to_string(pid) + "/clear_refs") << 5;
  work();
  const long peak = status_of(pid, "VmHWM");
  ::poll(nullptr, 0, resting_milliseconds);
  std::printf("64 MiB by %-6s %-8s %6ld KiB before, %6ld at most (%.2f messages more), %6ld after\n", way, program,
              before, peak, static_cast<double>(peak - before) * 1024 / large_bytes, resident_kib(pid));
}

void measure_large(const Programs& programs) {
  const auto wish =
      R"({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"bytes":)" + std::to_string(large_bytes) + "}}";
  {
    Daemon daemon(programs);
    pid_t relay = -1;
    auto client = start({programs.relay, "echo", "--socket", daemon.socket_path()}, &relay);
    client.start_initialize();
    daemon.turn_until([&] { return daemon.attached(); });
    client.finish_initialize();
    const auto work = [&] {
      client.send(wish + "\n");
      client.receive(1);
    };
    report_peak("relay", "gateway", daemon.gateway, work);
    report_peak("relay", "gateway", daemon.gateway, work);
    report_peak("relay", "relay", relay, work);
  }
  Daemon daemon(programs);
  const auto session = open_session(place(daemon), [&] { daemon.turn_until([&] { return daemon.attached(); }); });
  Connection connection(place(daemon), large_bytes);
  for (int i = 0; i < 2; ++i) {
    report_peak("HTTP", "gateway", daemon.gateway, [&] {
      connection.send(session, wish);
      connection.receive();
    });
  }
}

int run_all(const Programs& programs) {
  {
    Daemon daemon(programs, busy_sessions / sessions_per_worker + 1);
    measure_fairness(daemon);
  }
  measure_idle(programs);
  measure_large(programs);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s ECHO-SERVER GATEWAY RELAY\n", argv[0]);
    return 2;
  }
  hal::event::block_signals();
  try {
    return run_all({argv[1], argv[2], argv[3]});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
