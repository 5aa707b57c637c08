#include "server/announcer.hpp"

#include <utility>

namespace hal::server {

Announcer::Announcer(event::Loop& loop, Supervisor::Listener& listener, Find find)
    : listener_(listener), find_(std::move(find)), later_(loop, "server announcements", [this] { deliver(); }) {}

void Announcer::changed(const std::string& name) {
  changed_.insert(name);
  later_.schedule();
}

void Announcer::removed(const std::string& name) {
  post([this, name](Supervisor::Listener& listener) {
    if (find_(name) == nullptr && known_.erase(name) > 0) {
      listener.on_server_removed(name);
    }
  });
}

void Announcer::post(std::function<void(Supervisor::Listener&)> call) {
  calls_.push_back(std::move(call));
  later_.schedule();
}

void Announcer::deliver() {
  tell_changes();  // first, so that a server is known before its processes
  for (const auto& call : std::exchange(calls_, {})) {
    call(listener_);
  }
}

void Announcer::tell_changes() {
  for (const auto& name : std::exchange(changed_, {})) {
    const auto* server = find_(name);
    if (server == nullptr) {
      continue;
    }
    if (known_.insert(name).second) {
      listener_.on_server_added(*server);
    } else {
      listener_.on_server_changed(*server);
    }
  }
}

}  // namespace hal::server
