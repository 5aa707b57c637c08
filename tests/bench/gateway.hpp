#pragma once

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "io/listener.hpp"
#include "link/daemon_end.hpp"
#include "stdio_client.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace hal::bench {

struct Programs {
  std::string server;
  std::string gateway;
  std::string relay;
};

/** Forks a program with these descriptors as 0, 1, 2 (and `extra` as 3); not started if we are gone by then. */
inline pid_t run(const std::vector<std::string>& argv, int in, int out, int err = 2, int extra = -1) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) {
    return pid;
  }
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
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

/** Runs a program and gives the client its stdio. */
inline Client start(const std::vector<std::string>& argv, pid_t* pid = nullptr) {
  auto in = make_pipe();
  auto out = make_pipe();
  const pid_t started = run(argv, in.read.get(), out.write.get());
  if (pid != nullptr) {
    *pid = started;
  }
  return {std::move(in.write), std::move(out.read)};
}

inline UniqueFd tcp_socket() {
  return UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/** Plays hal9000d for a gateway with the server "echo" in mode shared, until everything stands. */
class Daemon final : public link::DaemonEndListener {
 public:
  /** Each worker has a socket and a token; all share the socket of HTTP. */
  explicit Daemon(Programs programs, int workers = 1) : programs_(std::move(programs)), workers_(workers) {
    char path[] = "/tmp/hal9000-bench-XXXXXX";
    folder_ = ::mkdtemp(path);
    auto pair = io::socket_pair(SOCK_SEQPACKET).value();
    // It tells of every call.
    const UniqueFd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
    gateway =
        run({programs_.gateway, "--link-fd", "3"}, nowhere.get(), nowhere.get(), nowhere.get(), pair.theirs.get());
    end_ = std::make_unique<link::DaemonEnd>(loop_, std::move(pair.ours), *this);
    turn_until([this] { return ready_; });
  }
  ~Daemon() override {
    ::kill(gateway, SIGTERM);
    for (int worker = 0; worker < workers_; ++worker) {
      ::unlink(socket_path(worker).c_str());
    }
    ::rmdir(folder_.c_str());
  }

  void turn_until(const std::function<bool()>& done) {
    while (!done()) {
      loop_.run_once(std::chrono::milliseconds(1000));
    }
  }
  /** The gateway has asked for the server, as it does for the first client. */
  [[nodiscard]] bool attached() const { return attached_; }
  [[nodiscard]] const sockaddr_in& address() const { return address_; }
  [[nodiscard]] std::string socket_path(int worker = 0) const {
    return folder_ + "/" + std::to_string(worker) + ".sock";
  }
  [[nodiscard]] static std::string token(int worker = 0) { return id(worker) + ".0123456789abcdef"; }

  pid_t gateway = -1;

 private:
  static std::string id(int worker) { return "bench" + std::to_string(worker); }

  void on_hello(const link::GatewayHello&) override {
    link::ServerSet server;
    server.name = "echo";
    (void)end_->send(std::move(server));
    for (int worker = 0; worker < workers_; ++worker) {
      auto listener = io::listen_unix(socket_path(worker), SOCK_STREAM, 0600).value();
      (void)end_->send(link::WorkerAdd{{id(worker)}, 0, {"echo"}, std::move(listener), token(worker), {}});
    }
    auto listening = tcp_socket();
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    if (::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address_), size) != 0 ||
        ::listen(listening.get(), 64) != 0 ||
        ::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address_), &size) != 0) {
      throw_errno("listen");
    }
    (void)end_->send(link::HttpListen{"bench", std::move(listening)});
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
  int workers_;
  event::Loop loop_;
  std::string folder_;
  sockaddr_in address_{};
  bool ready_ = false;
  bool attached_ = false;
  std::unique_ptr<link::DaemonEnd> end_;
};

}  // namespace hal::bench
