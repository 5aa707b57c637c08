#include "daemon/http_sockets.hpp"

#include "base/log.hpp"

#include <fcntl.h>

#include <algorithm>
#include <utility>

namespace hal::daemon {

namespace {

constexpr auto first_delay = std::chrono::milliseconds(500);
constexpr auto last_delay = std::chrono::milliseconds(30'000);

/** In the place of a worker's id; none is empty. */
const WorkerId the_holder;

}  // namespace

HttpSockets::HttpSockets(Parts parts) : parts_(std::move(parts)) {}

void HttpSockets::on_holder(pid_t holder) {
  on_worker(the_holder, holder, false);
}

void HttpSockets::on_worker(const WorkerId& id, pid_t pid, bool own) {
  const auto home = homes_.find(id);
  if (home == homes_.end() ? pid == 0 : home->second.first == pid) {
    return;
  }
  const auto name = pid == 0 ? std::string() : parts_.network_of(pid).value_or("");  // empty: it has just ended
  if (!name.empty()) {
    auto& network = networks_[name];
    network.members[id] = pid;
    network.owner = own ? id : WorkerId();
    network.delay = first_delay;
  }
  const bool moved = home != homes_.end() && home->second.second != name;
  if (moved) {
    leave(id);
  }
  if (!name.empty()) {
    homes_[id] = {pid, name};
    update(name);
  }
}

void HttpSockets::leave(const WorkerId& id) {
  const auto home = homes_.extract(id);
  const auto network = networks_.find(home.mapped().second);
  network->second.members.erase(id);
  if (!network->second.members.empty()) {
    return;
  }
  for (const auto& waiter : std::exchange(network->second.waiters, {})) {
    event::post(parts_.loop, "http socket", [waiter] { waiter(Error{Errc::cancelled, "the worker has ended"}); });
  }
  networks_.erase(network);
  close_deserted();
}

void HttpSockets::prepare(const WorkerId& id, pid_t pid, Done<void> done) {
  on_worker(id, pid, true);
  const auto home = homes_.find(id);
  const auto network = home == homes_.end() ? networks_.end() : networks_.find(home->second.second);
  if (network != networks_.end() && network->second.opening) {
    network->second.waiters.push_back(std::move(done));
    return;
  }
  event::post(parts_.loop, "http socket", [done = std::move(done)] { done({}); });
}

void HttpSockets::on_workers_known() {
  workers_known_ = true;
  close_deserted();
}

void HttpSockets::on_gateway(std::optional<std::vector<std::string>> networks) {
  connected_ = networks.has_value();
  served_.clear();
  if (networks) {
    served_.insert(networks->begin(), networks->end());
  }
  for (const auto& [name, network] : networks_) {
    update(name);
  }
  close_deserted();
}

void HttpSockets::close_deserted() {
  if (!connected_ || !workers_known_) {
    return;
  }
  for (auto it = served_.begin(); it != served_.end();) {
    if (networks_.contains(*it)) {
      ++it;
    } else {
      parts_.close(*it);
      it = served_.erase(it);
    }
  }
}

void HttpSockets::update(const std::string& name) {
  auto& network = networks_.at(name);
  if (!connected_ || served_.contains(name) || network.opening) {
    return;
  }
  if (network.listening) {
    UniqueFd copy(::fcntl(network.listening.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) {
      log::error({}, "MCP over HTTP: {}", errno_error("dup").message);
      return;
    }
    served_.insert(name);
    return parts_.serve(name, network.owner, std::move(copy));
  }
  network.opening = true;
  parts_.open(network.members.begin()->second,
              alive_.wrap([this, name](Result<UniqueFd> listening) { opened(name, std::move(listening)); }));
}

void HttpSockets::opened(const std::string& name, Result<UniqueFd> listening) {
  const auto found = networks_.find(name);
  if (found == networks_.end()) {
    return;  // deserted meanwhile
  }
  auto& network = found->second;
  network.opening = false;
  const auto waiters = std::exchange(network.waiters, {});
  const Result<void> result = listening ? Result<void>() : Result<void>(listening.error());
  if (!listening) {
    log::warning({}, "MCP over HTTP{}: {}; trying again in {} ms",
                 network.owner.value.empty() ? "" : " for worker " + network.owner.value, listening.error().message,
                 network.delay.count());
    network.retry = std::make_unique<event::Timer>(parts_.loop, "http socket", [this, name] { update(name); });
    network.retry->arm(network.delay);
    network.delay = std::min(network.delay * 2, last_delay);
  } else {
    network.delay = first_delay;
    network.listening = *std::move(listening);
    update(name);
  }
  for (const auto& waiter : waiters) {
    waiter(result);
  }
}

}  // namespace hal::daemon
