#include "event/sources.hpp"
#include "gateway.hpp"
#include "measure.hpp"
#include "stdio_client.hpp"

#include <poll.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

/**
 * How long a call takes over the relay and the gateway, against direct stdio to the same server and against two bare
 * pipe hops (cat before and behind it), in one run. Rounds of the three take turns, so that what else the machine does
 * hits all alike. Prints medians and ratios.
 */
namespace {

using namespace hal;
using namespace bench;

constexpr int rounds = 7;
constexpr int sequential_calls = 1000;
constexpr int pipelined_calls = 8000;
constexpr int in_flight = 16;
constexpr int large_calls = 20;
constexpr std::size_t large_bytes = std::size_t{1} << 20;

Client over_cats(const Programs& programs) {
  auto in = make_pipe();
  auto middle_in = make_pipe();
  auto middle_out = make_pipe();
  auto out = make_pipe();
  run({"cat"}, in.read.get(), middle_in.write.get());
  run({programs.server}, middle_in.read.get(), middle_out.write.get());
  run({"cat"}, middle_out.read.get(), out.write.get());
  return {std::move(in.write), std::move(out.read)};
}

/** What one way of reaching the server did in all rounds. */
struct Series {
  const char* name;
  Client client;
  std::vector<double> call_us;
  std::vector<double> calls_per_second;
  std::vector<double> large_us;

  void sequential() {
    for (int i = 0; i < sequential_calls; ++i) {
      const auto line = client.call("hello");
      call_us.push_back(1e6 * seconds_of([&] {
                          client.send(line);
                          client.receive(1);
                        }));
    }
  }
  void pipelined() {
    const double seconds = seconds_of([&] {
      for (int i = 0; i < in_flight; ++i) {
        client.send(client.call("hello"));
      }
      for (int i = in_flight; i < pipelined_calls; ++i) {
        client.receive(1);
        client.send(client.call("hello"));
      }
      client.receive(in_flight);
    });
    calls_per_second.push_back(pipelined_calls / seconds);
  }
  void large() {
    const std::string text(large_bytes, 'x');
    for (int i = 0; i < large_calls; ++i) {
      const auto line = client.call(text);
      large_us.push_back(1e6 * seconds_of([&] { client.exchange(line); }));
    }
  }
};

void report(const std::vector<Series>& all) {
  std::printf("%-14s %12s %14s %14s\n", "", "p50 call us", "calls/s at 16", "p50 1 MiB us");
  for (const auto& one : all) {
    std::printf("%-14s %12.1f %14.0f %14.0f\n", one.name, median(one.call_us), median(one.calls_per_second),
                median(one.large_us));
  }
  const double direct_us = median(all[0].call_us);
  const double hops = median(all[1].call_us) - direct_us;
  const double added = median(all[2].call_us) - direct_us;
  std::printf("added by two pipe hops: %.1f us; by relay and gateway: %.1f us; ratio %.2f\n", hops, added,
              added / hops);
  std::printf("throughput at %d in flight: %.2f of direct, %.2f of two pipe hops\n", in_flight,
              median(all[2].calls_per_second) / median(all[0].calls_per_second),
              median(all[2].calls_per_second) / median(all[1].calls_per_second));
  std::printf("1 MiB both ways: %.2f of direct\n", median(all[2].large_us) / median(all[0].large_us));
}

/** What it costs, and what remains of it. */
void report_costs(pid_t gateway_pid, pid_t relay_pid, Series& relay) {
  const auto per_call = [&](pid_t pid, const std::function<void()>& work, int calls) {
    const double before = cpu_seconds(pid);
    work();
    return 1e6 * (cpu_seconds(pid) - before) / calls;
  };
  for (const auto& [name, pid] : {std::pair("gateway", gateway_pid), std::pair("relay", relay_pid)}) {
    const double one = per_call(
        pid, [&] { relay.sequential(); }, sequential_calls);
    const double many = per_call(
        pid, [&] { relay.pipelined(); }, pipelined_calls);
    const double large = per_call(
        pid, [&] { relay.large(); }, large_calls);
    const double idle = per_call(
        pid, [] { ::poll(nullptr, 0, 500); }, 1);
    std::printf(
        "%s: %.1f us of CPU a call, %.2f with %d in flight, %.0f a call of 1 MiB, %.0f in 500 ms idle; "
        "resident %ld KiB\n",
        name, one, many, in_flight, large, idle, resident_kib(pid));
  }
}

int run_all(const Programs& programs) {
  Daemon daemon(programs);
  pid_t relay = -1;
  std::vector<Series> all;
  all.push_back({"direct", start({programs.server}), {}, {}, {}});
  all.push_back({"two pipe hops", over_cats(programs), {}, {}, {}});
  all.push_back({"relay", start({programs.relay, "echo", "--socket", daemon.socket_path()}, &relay), {}, {}, {}});
  all[0].client.initialize();
  all[1].client.initialize();
  // The gateway asks for the server when the client greets it.
  all[2].client.start_initialize();
  daemon.turn_until([&] { return daemon.attached(); });
  all[2].client.finish_initialize();
  for (int round = 0; round < rounds; ++round) {
    for (auto& one : all) {
      one.sequential();
    }
    for (auto& one : all) {
      one.pipelined();
    }
    for (auto& one : all) {
      one.large();
    }
  }
  report(all);
  report_costs(daemon.gateway, relay, all[2]);
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
