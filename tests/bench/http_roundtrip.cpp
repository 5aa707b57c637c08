#include "event/sources.hpp"
#include "gateway.hpp"
#include "measure.hpp"
#include "stdio_client.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/**
 * How long a call takes over Streamable HTTP and the gateway, against direct stdio to the same server, in one run.
 * Sequential calls use one connection, those in flight sixteen of one session. Rounds take turns, so that what else the
 * machine does hits both alike. Prints medians and ratios.
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

/** One keep-alive connection, one request at a time. Trusts the answers to be JSON with a length. */
class Connection {
 public:
  explicit Connection(const sockaddr_in& address) : fd_(tcp_socket()), port_(ntohs(address.sin_port)) {
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw_errno("connect");
    }
    const int on = 1;
    (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    buffer_.resize(large_bytes + 65536);
  }

  void send(const std::string& session, std::string_view body) {
    std::string request = "POST /mcp/echo HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port_) +
                          "\r\nAuthorization: Bearer " + Daemon::token() +
                          "\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n" +
                          (session.empty() ? "" : "Mcp-Session-Id: " + session + "\r\n") +
                          "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    request += body;
    for (std::string_view rest = request; !rest.empty();) {
      const auto sent = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        throw_errno("send");
      }
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    filled_ = 0;
    whole_ = 0;
  }

  /** Reads what is there; true once the answer is whole. */
  bool receive_some() {
    const auto bytes = ::recv(fd_.get(), buffer_.data() + filled_, buffer_.size() - filled_, 0);
    if (bytes <= 0) {
      throw std::runtime_error("the gateway closed a connection");
    }
    filled_ += static_cast<std::size_t>(bytes);
    const std::string_view text(buffer_.data(), filled_);
    if (whole_ == 0) {
      const auto head_end = text.find("\r\n\r\n");
      if (head_end == std::string_view::npos) {
        return false;
      }
      head = text.substr(0, head_end);
      const auto length = head.find("Content-Length: ");
      if (head.compare(9, 2, "20") != 0 || length == std::string::npos) {
        throw std::runtime_error("an answer that was not expected: " + std::string(text));
      }
      whole_ = head_end + 4 + std::strtoul(head.c_str() + length + 16, nullptr, 10);
    }
    return filled_ == whole_;
  }
  void receive() {
    while (!receive_some()) {
    }
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

  std::string head;

 private:
  UniqueFd fd_;
  unsigned port_;
  std::vector<char> buffer_;
  std::size_t filled_ = 0;
  std::size_t whole_ = 0;
};

struct Measured {
  std::vector<double> call_us;
  std::vector<double> calls_per_second;
  std::vector<double> large_us;
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

/** `calls` makes the messages; all connections are of one session. */
void measure_http(Client& calls, const std::string& session, std::vector<std::unique_ptr<Connection>>& connections,
                  Measured& measured) {
  auto& first = *connections.front();
  for (int i = 0; i < sequential_calls; ++i) {
    const auto line = calls.call("hello");
    measured.call_us.push_back(1e6 * seconds_of([&] {
                                 first.send(session, line);
                                 first.receive();
                               }));
  }
  const double seconds = seconds_of([&] {
    std::vector<pollfd> polled;
    for (const auto& connection : connections) {
      connection->send(session, calls.call("hello"));
      polled.push_back({connection->fd(), POLLIN, 0});
    }
    for (int done = 0, sent = in_flight; done < parallel_calls;) {
      (void)::poll(polled.data(), polled.size(), -1);
      for (std::size_t i = 0; i < polled.size(); ++i) {
        if ((polled[i].revents & POLLIN) == 0 || !connections[i]->receive_some()) {
          continue;
        }
        ++done;
        if (sent < parallel_calls) {
          ++sent;
          connections[i]->send(session, calls.call("hello"));
        }
      }
    }
  });
  measured.calls_per_second.push_back(parallel_calls / seconds);
  const std::string text(large_bytes, 'x');
  for (int i = 0; i < large_calls; ++i) {
    const auto line = calls.call(text);
    measured.large_us.push_back(1e6 * seconds_of([&] {
                                  first.send(session, line);
                                  first.receive();
                                }));
  }
}

std::string open_session(Daemon& daemon, Connection& connection) {
  connection.send("", R"({"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25",)"
                      R"("capabilities":{},"clientInfo":{"name":"bench","version":"1"}}})");
  daemon.turn_until([&] { return daemon.attached(); });
  connection.receive();
  const auto at = connection.head.find("Mcp-Session-Id: ");
  if (at == std::string::npos) {
    throw std::runtime_error("no session: " + connection.head);
  }
  auto session = connection.head.substr(at + 16, 32);
  connection.send(session, R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
  connection.receive();
  return session;
}

int run_all(const std::string& server, const std::string& gateway) {
  Daemon daemon({server, gateway, {}});
  auto direct = start({server});
  direct.initialize();
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < in_flight; ++i) {
    connections.push_back(std::make_unique<Connection>(daemon.address()));
  }
  const auto session = open_session(daemon, *connections.front());
  Measured plain;
  Measured http;
  double cpu = 0;
  for (int round = 0; round < rounds; ++round) {
    measure_direct(direct, plain);
    const double before = cpu_seconds(daemon.gateway);
    measure_http(direct, session, connections, http);
    cpu += cpu_seconds(daemon.gateway) - before;
  }
  std::printf("%-10s %12s %14s %14s\n", "", "p50 call us", "calls/s at 16", "p50 1 MiB us");
  for (const auto& [name, one] : {std::pair("direct", &plain), std::pair("http", &http)}) {
    std::printf("%-10s %12.1f %14.0f %14.0f\n", name, median(one->call_us), median(one->calls_per_second),
                median(one->large_us));
  }
  std::printf("added to a call: %.1f us; throughput %.2f of direct; 1 MiB both ways %.2f of direct\n",
              median(http.call_us) - median(plain.call_us),
              median(http.calls_per_second) / median(plain.calls_per_second),
              median(http.large_us) / median(plain.large_us));
  std::printf("gateway: %.1f us of CPU a call (large ones among them), resident %ld KiB\n",
              1e6 * cpu / (rounds * (sequential_calls + parallel_calls + large_calls)), resident_kib(daemon.gateway));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s ECHO-SERVER GATEWAY\n", argv[0]);
    return 2;
  }
  hal::event::block_signals();
  try {
    return run_all(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
