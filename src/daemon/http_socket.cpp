#include "daemon/http_socket.hpp"

#include "base/log.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

namespace hal::daemon {

namespace {

constexpr auto first_delay = std::chrono::milliseconds(500);
constexpr auto last_delay = std::chrono::milliseconds(30'000);

}  // namespace

HttpSocket::HttpSocket(Parts parts)
    : parts_(std::move(parts)), delay_(first_delay), retry_(parts_.loop, "http socket", [this] { update(); }) {}

void HttpSocket::on_namespace(pid_t holder) {
  holder_ = holder;
  network_.clear();
  delay_ = first_delay;
  if (holder == 0) {
    return;  // who is still in the old network goes on there
  }
  auto network = parts_.network_of(holder);
  if (!network) {
    log::error({}, "MCP over HTTP: {}", network.error().message);
    return;
  }
  network_ = *std::move(network);
  update();
}

void HttpSocket::on_gateway(std::optional<std::string> network) {
  served_ = std::move(network);
  update();
}

void HttpSocket::update() {
  if (network_.empty() || !served_ || *served_ == network_ || opening_) {
    return;
  }
  if (listening_ && listening_in_ == network_) {
    UniqueFd copy(::fcntl(listening_.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) {
      log::error({}, "MCP over HTTP: {}", errno_error("dup").message);
      return;
    }
    served_ = network_;
    return parts_.hand_over(network_, std::move(copy));
  }
  opening_ = true;
  parts_.open(holder_, alive_.wrap([this, network = network_](Result<UniqueFd> listening) {
    opened(network, std::move(listening));
  }));
}

void HttpSocket::opened(const std::string& network, Result<UniqueFd> listening) {
  opening_ = false;
  if (!listening) {
    log::warning({}, "MCP over HTTP: {}; trying again in {} ms", listening.error().message, delay_.count());
    retry_.arm(delay_);
    delay_ = std::min(delay_ * 2, last_delay);
    return;
  }
  delay_ = first_delay;
  listening_ = *std::move(listening);
  listening_in_ = network;
  update();
}

}  // namespace hal::daemon
