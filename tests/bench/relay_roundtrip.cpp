#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "io/listener.hpp"
#include "link/daemon_end.hpp"
#include "stdio_client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/**
 * How long a call takes over the relay and the gateway, against direct stdio to the same server and against two bare
 * pipe hops (cat before and behind it), in one run. Rounds of the three take turns, so that what else the machine does
 * hits all alike. Prints medians and ratios.
 */
namespace {

using namespace hal;
using bench::Client;
using bench::make_pipe;
using Clock = std::chrono::steady_clock;

constexpr int rounds = 7;
constexpr int sequential_calls = 1000;
constexpr int pipelined_calls = 8000;
constexpr int in_flight = 16;
constexpr int large_calls = 20;
constexpr std::size_t large_bytes = std::size_t{1} << 20;

struct Programs {
  std::string server;
  std::string gateway;
  std::string relay;
};

/** Forks a program with these descriptors as 0, 1 (and `extra` as 3); ended with us. */
pid_t run(const std::vector<std::string>& argv, int in, int out, int extra = -1) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) {
    return pid;
  }
  ::dup2(in, 0);
  ::dup2(out, 1);
  if (extra >= 0) {
    ::dup2(extra, 3);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  std::vector<char*> words;
  for (const auto& word : argv) {
    words.push_back(const_cast<char*>(word.c_str()));
  }
  words.push_back(nullptr);
  if (::getppid() == parent) {
    ::execvp(words[0], words.data());
  }
  _exit(127);
}

Client direct(const Programs& programs) {
  auto in = make_pipe();
  auto out = make_pipe();
  run({programs.server}, in.read.get(), out.write.get());
  return {std::move(in.write), std::move(out.read)};
}

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

/** Plays hal9000d for the gateway until everything stands. */
class Daemon final : public link::DaemonEndListener {
 public:
  explicit Daemon(const Programs& programs) : programs_(programs) {
    char path[] = "/tmp/hal9000-bench-XXXXXX";
    folder_ = ::mkdtemp(path);
    auto pair = io::socket_pair(SOCK_SEQPACKET).value();
    gateway = run({programs.gateway, "--link-fd", "3"}, 0, 2, pair.theirs.get());
    end_ = std::make_unique<link::DaemonEnd>(loop_, std::move(pair.ours), *this);
    turn_until([this] { return ready_; });
  }
  ~Daemon() override {
    ::unlink(socket_path().c_str());
    ::rmdir(folder_.c_str());
  }

  Client client() {
    auto in = make_pipe();
    auto out = make_pipe();
    relay = run({programs_.relay, "echo", "--socket", socket_path()}, in.read.get(), out.write.get());
    return {std::move(in.write), std::move(out.read)};
  }

  void turn_until(const std::function<bool()>& done) {
    while (!done()) {
      loop_.run_once(std::chrono::milliseconds(1000));
    }
  }
  [[nodiscard]] bool attached() const { return attached_; }

  pid_t gateway = -1;
  /** The last client's. */
  pid_t relay = -1;

 private:
  [[nodiscard]] std::string socket_path() const { return folder_ + "/mcp.sock"; }

  void on_hello(const link::GatewayHello&) override {
    link::ServerSet server;
    server.name = "echo";
    (void)end_->send(std::move(server));
    (void)end_->send(
        link::WorkerAdd{{"bench"}, 0, {"echo"}, io::listen_unix(socket_path(), SOCK_STREAM, 0600).value()});
    ready_ = true;
  }
  void on_instance_request(const link::InstanceRequest& request) override {
    auto in = make_pipe();
    auto out = make_pipe();
    run({programs_.server}, in.read.get(), out.write.get());
    (void)end_->send(
        link::InstanceAttach{request.server, {1}, request.session, std::move(in.write), std::move(out.read)});
    attached_ = true;
  }
  void on_instance_release(const link::InstanceRelease&) override {}
  void on_server_report(const link::ServerReport&) override {}
  void on_worker_report(const link::WorkerReport&) override {}
  void on_call_result(const link::CallResult&) override {}
  void on_link_closed(const Error& error) override { throw std::runtime_error("link: " + error.message); }

  Programs programs_;
  event::Loop loop_;
  std::string folder_;
  bool ready_ = false;
  bool attached_ = false;
  std::unique_ptr<link::DaemonEnd> end_;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
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

long resident_kib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) {
      return std::atol(line.c_str() + 6);
    }
  }
  return 0;
}

/** Processor time a process has used; what else the machine does changes it little. */
double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/schedstat");
  double nanoseconds = 0;
  file >> nanoseconds;
  return nanoseconds / 1e9;
}

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
void report_costs(const Daemon& daemon, Series& relay) {
  const auto per_call = [&](pid_t pid, const std::function<void()>& work, int calls) {
    const double before = cpu_seconds(pid);
    work();
    return 1e6 * (cpu_seconds(pid) - before) / calls;
  };
  for (const auto& [name, pid] : {std::pair("gateway", daemon.gateway), std::pair("relay", daemon.relay)}) {
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
  std::vector<Series> all;
  all.push_back({"direct", direct(programs), {}, {}, {}});
  all.push_back({"two pipe hops", over_cats(programs), {}, {}, {}});
  all.push_back({"relay", daemon.client(), {}, {}, {}});
  all[0].client.initialize();
  all[1].client.initialize();
  // The gateway asks for the server when the client greets it.
  all[2].client.send(
      R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}})"
      "\n");
  daemon.turn_until([&] { return daemon.attached(); });
  all[2].client.receive(1);
  all[2].client.send("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
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
  report_costs(daemon, all[2]);
  ::kill(daemon.gateway, SIGTERM);
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
