#include "base/text.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "io/listener.hpp"
#include "link/daemon_end.hpp"
#include "process/child.hpp"
#include "process/spawn.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/**
 * The part of hal9000d that hal9000-gateway sees, for one server and one worker that comes by HTTP.
 *
 *   gateway_driver GATEWAY shared|session PROGRAM ARGUMENT…
 *
 * Prints the port and the worker's token; the server is at /mcp/fixture. Starts PROGRAM whenever the gateway asks for a
 * process. Ends with stdin, and with the gateway's exit code.
 */
namespace {

using namespace hal;

constexpr const char* server_name = "fixture";
constexpr const char* worker_id = "conformance";

template <class T>
T checked(Result<T> result) {
  if (!result) {
    throw std::runtime_error(result.error().message);
  }
  return std::move(*result);
}

std::pair<UniqueFd, UniqueFd> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    throw_errno("pipe2");
  }
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

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

class Driver final : private link::DaemonEndListener {
 public:
  Driver(event::Loop& loop, const std::string& gateway, link::ServerMode mode, std::vector<std::string> program)
      : loop_(loop),
        mode_(mode),
        program_(std::move(program)),
        token_(std::string(worker_id) + "." + text::random_hex(32)),
        on_stdin_(loop, STDIN_FILENO, EPOLLIN, "stdin", [this](std::uint32_t) { stop(); }) {
    auto pair = checked(io::socket_pair(SOCK_SEQPACKET));
    process::SpawnSpec spec;
    spec.argv = {gateway, "--link-fd", "3"};
    spec.fds = {{2, STDERR_FILENO}, {3, pair.theirs.get()}};
    gateway_ = std::make_unique<process::Child>(loop, checked(process::spawn(spec)), "gateway",
                                                [this](const process::ExitStatus& status) { loop_.exit(status.code); });
    end_ = std::make_unique<link::DaemonEnd>(loop, std::move(pair.ours), static_cast<link::DaemonEndListener&>(*this));
  }

 private:
  void on_hello(const link::GatewayHello&) override {
    link::ServerSet server;
    server.name = server_name;
    server.mode = mode_;
    send(std::move(server));
    link::WorkerAdd worker;
    worker.id = {worker_id};
    worker.owner = ::getuid();
    worker.servers = {server_name};
    worker.listener = nobody_connects();
    worker.token = token_;
    send(std::move(worker));
    int port = 0;
    send(link::HttpListen{"here", listen_tcp(port)});
    std::printf("%d %s\n", port, token_.c_str());
    std::fflush(stdout);
  }

  /** A worker has a socket for its relays. This one's has no name. */
  static UniqueFd nobody_connects() {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr unnamed{};
    unnamed.sa_family = AF_UNIX;
    if (::bind(fd.get(), &unnamed, sizeof(sa_family_t)) != 0 || ::listen(fd.get(), 1) != 0) {
      throw_errno("a unix socket");
    }
    return fd;
  }

  void on_instance_request(const link::InstanceRequest& request) override {
    auto [stdin_of_it, to_server] = make_pipe();
    auto [from_server, stdout_of_it] = make_pipe();
    const InstanceId instance{++started_};
    process::SpawnSpec spec;
    spec.argv = program_;
    spec.env = {std::string("PATH=") + std::getenv("PATH")};
    spec.fds = {{0, stdin_of_it.get()}, {1, stdout_of_it.get()}, {2, STDERR_FILENO}};
    running_[instance.value] = std::make_unique<process::Child>(
        loop_, checked(process::spawn(spec)), "server", [this, instance](const process::ExitStatus& status) {
          if (end_) {
            send(link::InstanceGone{server_name, instance, status.describe()});
          }
        });
    send(link::InstanceAttach{server_name, instance, request.session, std::move(to_server), std::move(from_server)});
  }

  void on_instance_release(const link::InstanceRelease& release) override {
    if (const auto found = running_.find(release.instance.value); found != running_.end()) {
      found->second->kill_group(SIGKILL);
    }
  }

  void on_server_report(const link::ServerReport&) override {}
  void on_worker_report(const link::WorkerReport&) override {}
  void on_call_result(const link::CallResult&) override {}

  void on_link_closed(const Error& error) override {
    if (!stopping_) {
      std::fprintf(stderr, "the link ended: %s\n", error.message.c_str());
      stop();
    }
    end_.reset();
  }

  /** What cannot be sent is told by on_link_closed. */
  void send(link::ToGateway message) { (void)end_->send(std::move(message)); }

  void stop() {
    stopping_ = true;
    on_stdin_.set_events(0);
    gateway_->kill_group(SIGTERM);
  }

  event::Loop& loop_;
  link::ServerMode mode_;
  std::vector<std::string> program_;
  std::string token_;
  bool stopping_ = false;
  std::uint64_t started_ = 0;
  std::map<std::uint64_t, std::unique_ptr<process::Child>> running_;
  std::unique_ptr<process::Child> gateway_;
  std::unique_ptr<link::DaemonEnd> end_;
  event::Io on_stdin_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 3 || (words[1] != "shared" && words[1] != "session")) {
    std::fprintf(stderr, "usage: gateway_driver GATEWAY shared|session PROGRAM [ARGUMENT...]\n");
    return EXIT_FAILURE;
  }
  try {
    event::block_signals();
    event::Loop loop;
    const auto mode = words[1] == "shared" ? link::ServerMode::shared : link::ServerMode::session;
    Driver driver(loop, words[0], mode, {words.begin() + 2, words.end()});
    return loop.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gateway_driver: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
