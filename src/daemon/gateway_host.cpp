#include "daemon/gateway_host.hpp"

#include "base/log.hpp"
#include "io/listener.hpp"
#include "process/spawn.hpp"
#include "server/stdio.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace hal::daemon {

namespace {

constexpr auto first_delay = std::chrono::milliseconds(50);
constexpr auto last_delay = std::chrono::milliseconds(5'000);
/** A gateway that ran this long was well: its successor starts at once. */
constexpr auto stable_time = std::chrono::seconds(30);

}  // namespace

GatewayHost::GatewayHost(event::Loop& loop, Options options, Callback on_connected)
    : loop_(loop),
      options_(std::move(options)),
      on_connected_(std::move(on_connected)),
      delay_(first_delay),
      retry_(loop, "gateway retry", [this] { try_once(); }) {}

void GatewayHost::start() {
  retry_.arm(std::chrono::seconds(0));
}

void GatewayHost::reconnect() {
  if (stopping_) {
    return;
  }
  if (child_ != nullptr) {
    child_->kill_group(SIGKILL);  // without its link it is of no use; its exit starts the next one
  } else if (!retry_.armed()) {
    if (std::chrono::steady_clock::now() - started_ > stable_time) {
      delay_ = first_delay;
    }
    retry_.arm(delay_);
    delay_ = std::min(delay_ * 2, last_delay);
  }
}

void GatewayHost::stop() {
  stopping_ = true;
  retry_.disarm();
  if (child_ != nullptr) {
    child_->kill_group(SIGTERM);
  }
}

void GatewayHost::try_once() {
  if (options_.unit_socket.empty()) {
    start_child();
  } else {
    connect_unit();
  }
}

void GatewayHost::connect_unit() {
  auto socket = io::connect_unix(options_.unit_socket, SOCK_SEQPACKET);
  if (!socket) {
    return again(socket.error().message);
  }
  started_ = std::chrono::steady_clock::now();
  on_connected_(*std::move(socket));
}

void GatewayHost::start_child() {
  auto pair = io::socket_pair(SOCK_SEQPACKET);
  if (!pair) {
    return again(pair.error().message);
  }
  process::SpawnSpec spec;
  spec.argv = {options_.program, "--link-fd", "3"};
  spec.env = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8"};
  if (const char* stream = std::getenv("JOURNAL_STREAM")) {
    spec.env.push_back(std::string("JOURNAL_STREAM=") + stream);
  }
  spec.fds = {{2, STDERR_FILENO}, {3, pair->theirs.get()}};
  spec.user = server::find_account(options_.user);
  if (::geteuid() == 0 && !spec.user) {
    log::warning({}, "there is no user {}: the gateway runs as root", options_.user);
  }
  auto pid = process::spawn(spec);
  if (!pid) {
    return again(pid.error().message);
  }
  started_ = std::chrono::steady_clock::now();
  child_ = std::make_unique<process::Child>(loop_, *pid, "gateway", [this](const process::ExitStatus& status) {
    child_.reset();
    if (stopping_) {
      return;
    }
    if (std::chrono::steady_clock::now() - started_ > stable_time) {
      delay_ = first_delay;
    }
    again("it " + status.describe());
  });
  on_connected_(std::move(pair->ours));
}

void GatewayHost::again(const std::string& why) {
  log::warning({}, "gateway: {}; trying again in {} ms", why, delay_.count());
  retry_.arm(delay_);
  delay_ = std::min(delay_ * 2, last_delay);
}

}  // namespace hal::daemon
