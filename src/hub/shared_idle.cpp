// The end of a shared process that nobody uses. Its clients stay, and whoever uses it next gets a new one, as after a
// crash.
#include "base/log.hpp"
#include "base/names.hpp"
#include "hub/shared_server.hpp"

#include <chrono>
#include <utility>

namespace hal::hub {

/** Whether somebody waits for something only this process can do. An open session that asks nothing is no use. */
bool SharedServer::in_use() const {
  return in_flight_.size() > 0 || !held_.empty() || !questions_.empty() || tasks_.any_working() ||
         !subscriptions_.uris().empty();
}

void SharedServer::watch_idleness() {
  const std::chrono::milliseconds timeout(config().idle_timeout_ms);
  if (timeout.count() == 0 || !serving()) {
    return idle_check_.disarm();
  }
  const auto left = in_use() ? timeout : last_use_ + timeout - context().loop.now();
  idle_check_.arm(std::chrono::duration_cast<std::chrono::microseconds>(left));
}

void SharedServer::on_idle_check() {
  const std::chrono::milliseconds timeout(config().idle_timeout_ms);
  if (!serving() || timeout.count() == 0 || in_use() || context().loop.now() < last_use_ + timeout) {
    return watch_idleness();
  }
  log::info({{names::field_server, name()}}, "server {} is not used and may end", name());
  slot_.release();
  hello_.reset();
  tasks_.clear();
  handshaking_ = initialized_sent_ = false;
  log_level_sent_.reset();
}

void SharedServer::set_config(link::ServerSet config) {
  Server::set_config(std::move(config));
  watch_idleness();
}

}  // namespace hal::hub
