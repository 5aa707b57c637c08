// How the hub goes over to another gateway.
#include "hub/hub.hpp"
#include "hub/hub_limits.hpp"
#include "link/messages.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

namespace hal::hub {

namespace {

/** A message as save_message() has kept it. */
template <class Message>
std::optional<Message> load_message(Loader& archive) {
  io::Message datagram;
  archive(datagram.bytes, datagram.fds);
  if (archive.failed()) {
    return std::nullopt;
  }
  auto decoded = link::decode_to_gateway(std::move(datagram));
  auto* message = decoded ? std::get_if<Message>(&*decoded) : nullptr;
  if (message == nullptr) {
    archive.fail();
    return std::nullopt;
  }
  return std::move(*message);
}

}  // namespace

/** Those with one server that speaks an older revision; the ways to others are made of too many parts. */
bool Hub::can_be_kept(const Session& session) const {
  if (!session.can_be_kept() || session.server() == nullptr) {
    return session.can_be_kept();
  }
  const auto found = servers_.find(session.server()->name());
  return found != servers_.end() && found->second.get() == session.server() && !found->second->is_modern_only();
}

void Hub::prepare_to_save(const std::string& reason, std::function<void()> on_ready) {
  saving_ = true;
  on_idle_ = std::move(on_ready);
  for (auto& [id, worker] : workers_) {
    if (worker.listener) {
      worker.listener->pause();
    }
  }
  for (const auto& [id, session] : sessions_) {
    if (session->server() == nullptr) {
      session->hold(true);  // nobody joins any more
    }
  }
  for (const auto& [name, modern] : modern_) {
    modern->shut_down(reason);
  }
  all_.shut_down(reason);
  end_sessions([this](const Session& session) { return !can_be_kept(session); }, reason);
  end_traces(reason);
  tell_if_idle();
}

void Hub::save_message(Saver& archive, link::ToGateway message) const {
  auto datagram = link::encode(std::move(message));
  io::Message none;
  auto& kept = datagram ? *datagram : none;  // one too large to be said again cannot have been said
  archive(kept.bytes);
  archive.number(kept.fds.size());
  for (auto& fd : kept.fds) {
    archive.own(std::move(fd));
  }
}

void Hub::save(Saver& archive) {
  saving_ = false;
  for (const auto& [id, caller] : callers_) {
    if (caller->server() != nullptr) {
      caller->server()->remove(*caller);  // the daemon answers whose call it is
    }
  }
  callers_.clear();
  std::vector<Session*> kept;
  for (const auto& [id, session] : sessions_) {
    if (can_be_kept(*session)) {
      kept.push_back(session.get());
    } else if (session->server() != nullptr) {
      session->server()->remove(*session);
      session->detach("it has not ended in time");
    }
  }
  for (const auto& [name, server] : servers_) {
    server->leave_modern();
  }
  modern_.clear();

  archive(next_client_);
  archive.number(servers_.size());
  for (const auto& [name, server] : servers_) {
    save_message(archive, server->config());
  }
  archive.number(workers_.size());
  for (auto& [id, worker] : workers_) {
    link::WorkerAdd message{id, worker.access->owner, {worker.servers.begin(), worker.servers.end()}, {}, {}, {}};
    message.tools = worker.access->tools;
    if (worker.listener) {
      message.listener = worker.listener->fd().duplicate();
    }
    save_message(archive, std::move(message));
    archive(worker.last_activity_usec);
  }
  archive.number(kept.size());
  for (auto* session : kept) {
    archive.number(session->id().value);
    archive.text(session->worker().value);
    archive.text(session->server() != nullptr ? session->server()->name() : "");
    session->save(archive);
  }
  for (const auto& [name, server] : servers_) {
    server->save(archive);
  }
}

void Hub::load(Loader& archive) {
  archive(next_client_);
  for (auto count = archive.count(); count > 0 && !archive.failed(); --count) {
    if (const auto config = load_message<link::ServerSet>(archive)) {
      set_server(*config);
    }
  }
  for (auto count = archive.count(); count > 0 && !archive.failed(); --count) {
    load_worker(archive);
  }
  for (auto count = archive.count(); count > 0 && !archive.failed(); --count) {
    load_session(archive);
  }
  std::size_t joined = 0;
  const Server::FindClient find = [&](ClientId id) -> std::pair<Client*, std::shared_ptr<const Access>> {
    const auto session = sessions_.find(id);
    const auto worker = session != sessions_.end() ? workers_.find(session->second->worker()) : workers_.end();
    if (worker == workers_.end() || session->second->server() == nullptr) {
      return {nullptr, nullptr};
    }
    ++joined;
    return {session->second.get(), worker->second.access};
  };
  for (const auto& [name, server] : servers_) {
    if (!archive.failed()) {
      server->load(archive, find);
    }
  }
  const auto with_server = static_cast<std::size_t>(std::count_if(
      sessions_.begin(), sessions_.end(), [](const auto& entry) { return entry.second->server() != nullptr; }));
  if (joined != with_server) {
    archive.fail();
  }
}

void Hub::load_worker(Loader& archive) {
  auto message = load_message<link::WorkerAdd>(archive);
  if (!message) {
    return;
  }
  const auto id = message->id;
  add_worker(std::move(*message));
  archive(workers_.at(id).last_activity_usec);
}

void Hub::load_session(Loader& archive) {
  const ClientId id{archive.number()};
  const WorkerId worker{archive.text()};
  const auto name = archive.text();
  const auto server = servers_.find(name);
  const auto found = workers_.find(worker);
  if (found == workers_.end() || sessions_.contains(id) || (!name.empty() && server == servers_.end())) {
    return archive.fail();
  }
  auto session = RelaySession::load(archive, loop_, id, worker, name.empty() ? nullptr : server->second.get(),
                                    static_cast<RelaySession::Listener&>(*this));
  if (session != nullptr) {
    ++found->second.sessions;
    sessions_.emplace(id, std::move(session));
  }
}

}  // namespace hal::hub
