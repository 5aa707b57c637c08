// The hub's sessions: who gets to which server.
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/hub.hpp"
#include "hub/hub_limits.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

Result<Server*> Hub::on_session_opening(RelaySession& session, const std::string& name) {
  return join(session, session.worker(), name, Side::legacy);
}

/** It has opened like any other; its first message tells that it is none of those the server knows. */
Result<Server*> Hub::on_session_modern(RelaySession& session) {
  auto& legacy = *session.server();
  const auto worker = workers_.find(session.worker());
  if (worker == workers_.end()) {
    return Error{Errc::unavailable, "the worker is gone"};
  }
  auto& modern = modern_of(legacy);
  if (auto added = modern.add(session, worker->second.access); !added) {
    return added.error();
  }
  legacy.remove(session);
  return &modern;
}

ModernServer& Hub::modern_of(Server& legacy) {
  auto& modern = modern_[legacy.name()];
  if (modern == nullptr) {
    modern = std::make_unique<ModernServer>(&legacy == &all_ ? uncounted_ : context_, legacy);
  }
  return *modern;
}

ModernServer* Hub::find_modern(const std::string& name) const {
  const auto found = modern_.find(name);
  return found != modern_.end() ? found->second.get() : nullptr;
}

Result<Server*> Hub::join(Client& client, const WorkerId& id, const std::string& name) {
  return join(client, id, name, Side::legacy);
}

Result<Server*> Hub::join(Client& client, const WorkerId& id, const std::string& name, Side side) {
  const auto worker = workers_.find(id);
  if (worker != workers_.end() && name == names::all_servers) {
    // Rules for tools are those of the servers, and written for the tools' own names.
    Server& all = side == Side::modern ? static_cast<Server&>(modern_of(all_)) : all_;
    auto added = all.add(client, std::make_shared<const Access>(Access{id, worker->second.access->owner, {}}));
    return added ? Result<Server*>(&all) : Result<Server*>(added.error());
  }
  const bool allowed = worker != workers_.end() && worker->second.servers.contains(name);
  const auto found = servers_.find(name);
  // One answer for both: a worker does not learn which servers exist for others.
  if (!allowed || found == servers_.end()) {
    return Error{Errc::denied, fmt::format("no server {} for this worker", text::printable(name, 64))};
  }
  Server& server = side == Side::modern ? modern_of(*found->second) : *found->second;
  if (auto added = server.add(client, worker->second.access); !added) {
    return added.error();
  }
  log::info({{names::field_worker, id.value}, {names::field_session, client.session()}, {names::field_server, name}},
            "worker {} opened a session with server {}", id.value, name);
  return &server;
}

void Hub::on_session_activity(RelaySession& session) {
  note_activity(session.worker());
}

void Hub::note_activity(const WorkerId& id) {
  if (const auto worker = workers_.find(id); worker != workers_.end()) {
    worker_changed(worker->second);
  }
}

Result<Server*> Hub::open(const WorkerId& worker, const std::string& server, const MakeSession& make) {
  return open(worker, server, make, Side::legacy);
}

Result<Server*> Hub::open_modern(const WorkerId& worker, const std::string& server, const MakeSession& make) {
  return open(worker, server, make, Side::modern);
}

Result<Server*> Hub::open(const WorkerId& id, const std::string& server, const MakeSession& make, Side side) {
  const auto worker = workers_.find(id);
  if (worker == workers_.end() || stopping_) {
    return Error{Errc::unavailable, "the gateway does not serve this worker any more"};
  }
  if (worker->second.sessions >= limits::sessions_per_worker) {
    return Error{Errc::limit, "too many sessions of this worker"};
  }
  auto session = make({next_client_++});
  auto joined = join(*session, id, server, side);
  if (!joined) {
    return joined;
  }
  ++worker->second.sessions;
  worker_changed(worker->second);
  sessions_[session->id()] = std::move(session);
  return joined;
}

std::vector<std::string> Hub::servers_of(const WorkerId& id) const {
  std::vector<std::string> names;
  if (const auto worker = workers_.find(id); worker != workers_.end()) {
    for (const auto& name : worker->second.servers) {
      if (servers_.contains(name)) {
        names.push_back(name);
      }
    }
  }
  return names;
}

void Hub::close(Session& session) {
  const auto found = sessions_.find(session.id());
  const auto kept = std::move(found->second);
  sessions_.erase(found);
  if (kept->server() != nullptr) {
    kept->server()->remove(*kept);
    log::info({{names::field_worker, kept->worker().value},
               {names::field_session, kept->session()},
               {names::field_server, kept->server()->name()}},
              "session of worker {} with server {} is over", kept->worker().value, kept->server()->name());
  }
  if (const auto worker = workers_.find(kept->worker()); worker != workers_.end()) {
    --worker->second.sessions;
    worker_changed(worker->second);
  }
  tell_if_idle();
}

void Hub::tell_if_idle() {
  const bool idle = stopping_ ? sessions_.empty()
                              : saving_ && std::all_of(sessions_.begin(), sessions_.end(), [this](const auto& entry) {
                                  return can_be_kept(*entry.second);
                                });
  if (idle) {
    idle_.schedule();
  }
}

void Hub::end_sessions(const std::function<bool(const Session&)>& which, const std::string& reason) {
  for (const auto& [id, session] : sessions_) {
    if (which(*session)) {
      session->end(reason);
    }
  }
}

}  // namespace hal::hub
