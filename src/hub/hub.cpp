#include "hub/hub.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/message.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

std::uint64_t realtime_usec() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

/** One report of the two sides of a server. */
link::ServerReport both(link::ServerReport legacy, link::ServerReport modern) {
  legacy.traffic += modern.traffic;
  legacy.sessions.insert(legacy.sessions.end(), std::make_move_iterator(modern.sessions.begin()),
                         std::make_move_iterator(modern.sessions.end()));
  if (legacy.server_info.empty()) {
    legacy.protocol_version = std::move(modern.protocol_version);
    legacy.server_info = std::move(modern.server_info);
  }
  legacy.last_activity_usec = std::max(legacy.last_activity_usec, modern.last_activity_usec);
  return legacy;
}

}  // namespace

Hub::Hub(event::Loop& loop, ToDaemon to_daemon, limits::Deadlines deadlines)
    : loop_(loop),
      to_daemon_(std::move(to_daemon)),
      audit_(loop),
      context_{
          loop,
          to_daemon_,
          [this](const std::string& server) {
            changed_servers_.insert(server);
            schedule_report();
          },
          audit_,
          [this](Server& legacy) -> Server& { return modern_of(legacy); },
          [this](const std::string& server) -> Traces& { return traces_.try_emplace(server, loop_).first->second; },
          deadlines},
      uncounted_{loop,
                 to_daemon_,
                 [](const std::string&) {},
                 audit_,
                 context_.modern_of,
                 context_.traces_of,
                 context_.deadlines},
      report_(
          loop, "hub report", [this] { report(); }, event::Priority::idle),
      idle_(loop, "hub idle", [this] { on_idle_(); }),
      all_(uncounted_, static_cast<AggregateServer::Directory&>(*this)) {}

Hub::~Hub() {
  for (const auto& [name, server] : servers_) {
    server->leave_modern();
  }
  modern_.clear();  // while all that it tells of itself is there
}

// Workers.

void Hub::add_worker(link::WorkerAdd message) {
  const auto [place, fresh] = workers_.try_emplace(message.id);
  auto& worker = place->second;
  if (fresh) {
    // Of the same worker before its restart: they are ending, and will be counted off here.
    worker.sessions = static_cast<std::size_t>(std::count_if(
        sessions_.begin(), sessions_.end(), [&](const auto& entry) { return entry.second->worker() == message.id; }));
  }
  worker.servers = std::set(message.servers.begin(), message.servers.end());
  *worker.access = {message.id, message.owner, std::move(message.tools)};
  if (message.listener) {
    worker.listener = std::make_unique<io::Listener>(
        loop_, std::move(message.listener), "worker " + message.id.value,
        [this, id = message.id](UniqueFd connection, io::PeerCredentials) { accept(id, std::move(connection)); });
  }
  end_sessions(
      [&](const Session& session) {
        return session.worker() == message.id && session.server() != nullptr && session.server() != &all_ &&
               !worker.servers.contains(session.server()->name());
      },
      "the worker may not use this server any more");
  all_.update();
}

void Hub::remove_worker(const WorkerId& id) {
  workers_.erase(id);
  for (auto& [name, traces] : traces_) {
    traces.end_of_worker(id);
  }
  end_sessions([&](const Session& session) { return session.worker() == id; }, "the worker is gone");
}

void Hub::accept(const WorkerId& id, UniqueFd connection) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || stopping_) {
    return;
  }
  if (found->second.sessions >= limits::sessions_per_worker) {
    const std::string refusal = R"({"hal9000":1,"error":"too many sessions of this worker"})"
                                "\n";
    (void)::send(connection.get(), refusal.data(), refusal.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  ++found->second.sessions;
  worker_changed(found->second);
  const ClientId client{next_client_++};
  sessions_.emplace(client, std::make_unique<RelaySession>(loop_, client, id, std::move(connection),
                                                           static_cast<RelaySession::Listener&>(*this)));
}

// Servers.

void Hub::set_server(const link::ServerSet& message) {
  const auto found = servers_.find(message.name);
  if (found != servers_.end() && found->second->config().mode == message.mode) {
    if (auto* modern = find_modern(message.name); modern != nullptr) {
      modern->set_config(message);
    }
    return found->second->set_config(message);
  }
  drop_server(message.name, "the server's mode was changed");
  servers_[message.name] = make_server(context_, message);
  all_.update();
}

void Hub::remove_server(const std::string& name) {
  const auto reason = fmt::format("server {} was removed", name);
  drop_server(name, reason);
  if (const auto found = traces_.find(name); found != traces_.end()) {
    found->second.end_all(TraceEnd::server_removed, reason);
    traces_.erase(found);
  }
  all_.update();
}

void Hub::drop_server(const std::string& name, const std::string& reason) {
  const auto found = servers_.find(name);
  if (found == servers_.end()) {
    return;
  }
  auto* server = found->second.get();
  const auto* modern = find_modern(name);
  if (modern != nullptr) {
    modern_.at(name)->shut_down(reason);
  }
  server->shut_down(reason);
  for (const auto& [id, session] : sessions_) {
    if (session->server() == server || (modern != nullptr && session->server() == modern)) {
      session->detach(reason);
    }
  }
  for (const auto& [id, caller] : callers_) {
    if (caller->server() == server) {
      caller->detach(reason);
    }
  }
  all_.detach(*server, reason);
  server->leave_modern();  // each has clients that are ways to the other
  modern_.erase(name);
  servers_.erase(found);
  changed_servers_.erase(name);
}

void Hub::attach(link::InstanceAttach message) {
  const auto found = servers_.find(message.server);
  if (found == servers_.end()) {
    return to_daemon_(link::InstanceRelease{message.server, message.instance});
  }
  if (ModernServer::is_ours(message.session)) {
    return modern_of(*found->second).attach(std::move(message));
  }
  found->second->attach(std::move(message));
}

void Hub::gone(const link::InstanceGone& message) {
  if (const auto found = servers_.find(message.server); found != servers_.end()) {
    found->second->gone(message);
  }
  if (auto* modern = find_modern(message.server); modern != nullptr) {
    modern->gone(message);
  }
}

void Hub::unavailable(const link::ServerUnavailable& message) {
  if (ModernServer::is_ours(message.session)) {
    if (auto* modern = find_modern(message.server); modern != nullptr) {
      modern->unavailable(message);
    }
    return;
  }
  if (const auto found = servers_.find(message.server); found != servers_.end()) {
    found->second->unavailable(message);
  }
}

// Calls of the daemon's own.

void Hub::call(const link::Call& message) {
  const auto found = servers_.find(message.server);
  const auto refuse = [&](Error error) { to_daemon_(link::CallResult{message.id, std::move(error)}); };
  if (found == servers_.end()) {
    return refuse({Errc::not_found, fmt::format("there is no server {}", message.server)});
  }
  const auto line = jsonrpc::request("1", message.method, message.params);
  const auto probe = jsonrpc::scan(line);
  if (probe.kind != jsonrpc::Kind::request || (!message.params.empty() && probe.params.front() != '{')) {
    return refuse({Errc::invalid_argument, "the parameters are not one JSON object"});
  }
  const ClientId client{next_client_++};
  auto caller = std::make_unique<Caller>(
      loop_, client, message.method, message.params,
      [this, client, id = message.id](Result<std::string> result) { finish_call(client, id, std::move(result)); });
  if (const auto added = found->second->add(*caller, std::make_shared<const Access>()); !added) {
    return refuse(added.error());
  }
  auto& kept = *(callers_[client] = std::move(caller));
  kept.start(*found->second);
}

void Hub::finish_call(ClientId caller, std::uint64_t call, Result<std::string> result) {
  const auto found = callers_.find(caller);
  const auto kept = std::move(found->second);
  callers_.erase(found);
  if (kept->server() != nullptr) {
    kept->server()->remove(*kept);
  }
  to_daemon_(link::CallResult{call, std::move(result)});
}

// Traces.

void Hub::trace(link::Trace message) {
  const auto id = message.id;
  const auto found = traces_.find(message.server);
  const auto added = found != traces_.end()
                         ? found->second.add(std::move(message))
                         : Error{Errc::not_found, fmt::format("there is no server {}", message.server)};
  to_daemon_(link::CallResult{id, added ? Result<std::string>(std::string()) : added.error()});
}

void Hub::end_traces(const std::string& reason) {
  for (auto& [name, traces] : traces_) {
    traces.end_all(TraceEnd::stopped, reason);
  }
}

// The daemon.

link::GatewayHello Hub::hello() const {
  link::GatewayHello hello;
  for (const auto& [id, worker] : workers_) {
    hello.workers.push_back(id);
  }
  for (const auto& [name, server] : servers_) {
    for (const auto instance : server->instances()) {
      hello.instances.push_back({name, instance});
    }
  }
  for (const auto& [name, modern] : modern_) {
    for (auto& held : modern->held()) {
      hello.instances.push_back(std::move(held));
    }
  }
  return hello;
}

void Hub::daemon_returned() {
  for (const auto& [name, server] : servers_) {
    server->daemon_returned();
    changed_servers_.insert(name);
  }
  for (const auto& [name, modern] : modern_) {
    modern->daemon_returned();
  }
  for (auto& [id, worker] : workers_) {
    worker.changed = true;
  }
  schedule_report();
}

void Hub::shut_down(const std::string& reason, std::function<void()> on_idle) {
  stopping_ = true;
  on_idle_ = std::move(on_idle);
  for (const auto& [name, modern] : modern_) {
    modern->shut_down(reason);
  }
  for (const auto& [name, server] : servers_) {
    server->shut_down(reason);
  }
  all_.shut_down(reason);
  end_sessions([](const Session&) { return true; }, reason);
  end_traces(reason);
  for (auto& [id, worker] : workers_) {
    worker.listener.reset();
  }
  tell_if_idle();
}

void Hub::worker_changed(Worker& worker) {
  worker.last_activity_usec = realtime_usec();
  if (!std::exchange(worker.changed, true)) {
    schedule_report();
  }
}

void Hub::schedule_report() {
  if (!report_.armed()) {
    const auto since = loop_.now() - last_report_;
    const auto wait = since >= limits::report_interval ? std::chrono::steady_clock::duration::zero()
                                                       : limits::report_interval - since;
    report_.arm(std::chrono::duration_cast<std::chrono::microseconds>(wait));
  }
}

void Hub::report() {
  last_report_ = loop_.now();
  for (const auto& name : std::exchange(changed_servers_, {})) {
    if (const auto found = servers_.find(name); found != servers_.end()) {
      auto report = found->second->report();
      if (auto* modern = find_modern(name); modern != nullptr) {
        report = both(std::move(report), modern->report());
      }
      to_daemon_(std::move(report));
    }
  }
  for (auto& [id, worker] : workers_) {
    if (std::exchange(worker.changed, false)) {
      to_daemon_(link::WorkerReport{id, worker.sessions, worker.last_activity_usec});
    }
  }
}

}  // namespace hal::hub
