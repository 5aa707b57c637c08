#include "daemon/data_plane.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/settings.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include <fmt/format.h>

namespace hal::daemon {

namespace {

/** D-Bus calls to MCP servers that may be open at once; more are refused. */
constexpr std::size_t max_calls = 256;

bool is_live(const worker::Worker& worker) {
  return worker.state != worker::State::exited && worker.state != worker::State::failed;
}

}  // namespace

DataPlane::DataPlane(event::Loop& loop, worker::Registry& registry, GatewayHost::Options options)
    : loop_(loop),
      registry_(registry),
      host_(loop, std::move(options),
            [this](UniqueFd socket) {
              link_ = std::make_unique<link::DaemonEnd>(loop_, std::move(socket),
                                                        static_cast<link::DaemonEndListener&>(*this));
            }),
      broken_(loop, "gateway link broken", [this] {
        on_link_closed({Errc::disconnected, broken_by_});
      }) {}

DataPlane::~DataPlane() = default;

void DataPlane::start() {
  host_.start();
}

void DataPlane::stop() {
  host_.stop();
}

DataPlane::Statistics DataPlane::statistics(const std::string& server) const {
  const auto it = statistics_.find(server);
  return it == statistics_.end() ? Statistics{} : it->second;
}

void DataPlane::send(link::ToGateway message) {
  if (!connected()) {
    return;  // the next hello makes it good
  }
  if (const auto sent = link_->send(std::move(message)); !sent) {
    break_link(sent.error());
  }
}

void DataPlane::break_link(const Error& error) {
  broken_by_ = error.message;
  link_.reset();
  broken_.schedule();
}

void DataPlane::ask(link::ToGateway message, std::uint64_t id, Done<std::string> done) {
  Result<void> possible;
  if (!connected()) {
    possible = Error{Errc::unavailable, "the gateway is not running"};
  } else if (calls_.size() >= max_calls) {
    possible = Error{Errc::limit, "256 calls to MCP servers are open already"};
  }
  if (possible) {
    const auto sent = link_->send(std::move(message));
    if (!sent && sent.error().code == Errc::disconnected) {
      break_link(sent.error());  // which answers the call
    } else {
      possible = sent;  // a message too large harms nobody but its caller
    }
  }
  if (!possible) {
    event::post(loop_, "server call", [error = possible.error(), done = std::move(done)] { done(error); });
    return;
  }
  calls_.emplace(id, std::move(done));
}

void DataPlane::call(const std::string& server, const std::string& method, const std::string& params,
                     Done<std::string> done) {
  const std::uint64_t id = next_call_++;
  ask(link::Call{id, server, method, params}, id, std::move(done));
}

Result<void> DataPlane::may_trace(const bus::TraceRequest& request) const {
  if (request.worker.empty()) {
    return {};
  }
  const auto* worker = registry_.find(WorkerId{request.worker});
  if (worker == nullptr || !is_live(*worker)) {
    return Error{Errc::not_found, fmt::format("no worker {} is alive", request.worker)};
  }
  if (!request.all && worker->owner != request.reader) {
    return Error{Errc::denied, fmt::format("worker {} is not yours", request.worker)};
  }
  return {};
}

void DataPlane::trace(const std::string& server, const bus::TraceRequest& request, Done<UniqueFd> done) {
  auto possible = may_trace(request);
  int ends[2] = {-1, -1};
  if (possible && ::pipe2(ends, O_CLOEXEC) != 0) {
    possible = errno_error("pipe2");
  }
  if (!possible) {
    event::post(loop_, "server trace", [error = possible.error(), done = std::move(done)] { done(error); });
    return;
  }
  const auto reading = std::make_shared<UniqueFd>(ends[0]);
  const std::uint64_t id = next_call_++;
  link::Trace message{id, server, request.reader, request.all, request.worker, request.payloads, UniqueFd(ends[1])};
  ask(std::move(message), id, [reading, done = std::move(done)](const Result<std::string>& started) {
    started ? done(std::move(*reading)) : done(started.error());
  });
}

// --- the gateway speaks --------------------------------------------------------------------------------------------

void DataPlane::on_hello(const link::GatewayHello& hello) {
  log::info({{names::field_message_id, names::message_id_gateway_connected}},
            "gateway connected: it has {} workers and {} server processes", hello.workers.size(),
            hello.instances.size());
  known_ = {hello.workers.begin(), hello.workers.end()};
  for (const auto* server : supervisor_->all()) {
    set_server(*server);
  }
  sync_workers();
  std::vector<server::HeldInstance> held;
  for (const auto& instance : hello.instances) {
    held.push_back(
        {instance.server, instance.instance, instance.session ? std::optional(instance.session->value) : std::nullopt});
  }
  supervisor_->reconcile(std::move(held));
  on_gateway_(hello.http_networks);
}

void DataPlane::sync_workers() {
  for (const auto* worker : registry_.all()) {
    if (!is_live(*worker)) {
      continue;
    }
    if (known_.contains(worker->id)) {
      add_worker(*worker, UniqueFd());
      continue;
    }
    auto socket = registry_.reopen_gateway_socket(worker->id);
    if (!socket) {
      log::error({{names::field_worker, worker->id.value}}, "worker {}: {}; its MCP servers are out of reach",
                 worker->name, socket.error().message);
      continue;
    }
    on_gateway_socket(*worker, *std::move(socket));
  }
  if (!workers_reconciled_) {
    return;
  }
  for (const auto& id : std::vector<WorkerId>(known_.begin(), known_.end())) {
    const auto* worker = registry_.find(id);
    if (worker == nullptr || !is_live(*worker)) {
      on_worker_removed(id);
    }
  }
}

void DataPlane::on_instance_request(const link::InstanceRequest& request) {
  supervisor_->request(request.server,
                       request.session ? std::optional<std::string>(request.session->value) : std::nullopt);
}

void DataPlane::on_instance_release(const link::InstanceRelease& release) {
  supervisor_->release(release.server, release.instance);
}

void DataPlane::on_server_report(const link::ServerReport& report) {
  if (supervisor_->find(report.name) == nullptr) {
    return;
  }
  statistics_[report.name] = {report.traffic, report.sessions, report.protocol_version, report.server_info};
  if (on_statistics_) {
    on_statistics_(report.name);
  }
}

void DataPlane::on_worker_report(const link::WorkerReport& report) {
  registry_.note_activity(report.id, report.last_activity_usec);
}

void DataPlane::on_call_result(const link::CallResult& result) {
  if (const auto node = calls_.extract(result.id)) {
    node.mapped()(result.result);
  }
}

void DataPlane::on_link_closed(const Error& error) {
  log::warning({{names::field_message_id, names::message_id_gateway_lost}}, "gateway: {}", error.message);
  link_.reset();
  known_.clear();
  for (const auto& [id, done] : std::exchange(calls_, {})) {
    done(Error{Errc::disconnected, "the gateway went away; the call may or may not have run"});
  }
  supervisor_->disconnected();
  on_gateway_(std::nullopt);
  host_.reconnect();
}

// --- workers and servers speak -------------------------------------------------------------------------------------

void DataPlane::on_gateway_socket(const worker::Worker& worker, UniqueFd listening) {
  if (!connected()) {
    return;
  }
  if (known_.contains(worker.id)) {
    send(link::WorkerRemove{worker.id});  // a new socket in place of the old one, with all its sessions
  }
  known_.insert(worker.id);
  add_worker(worker, std::move(listening));
}

void DataPlane::add_worker(const worker::Worker& worker, UniqueFd listening) {
  const auto token = token_of_(worker.id);
  if (!token) {
    log::error({{names::field_worker, worker.id.value}}, "worker {}: {}; it has no MCP over HTTP", worker.name,
               token.error().message);
  }
  link::WorkerAdd message{worker.id, worker.owner, {}, std::move(listening), token.value_or(""), {}};
  const auto grants = grants_of_(worker);
  for (const auto& server : worker.servers) {
    if (worker::may_use(grants, server)) {
      message.servers.push_back(server);
    }
  }
  for (const auto* grant : grants) {
    for (const auto& [server, rules] : grant->tools) {
      message.tools.push_back({server, rules});
    }
  }
  send(std::move(message));
}

void DataPlane::on_grants_changed() {
  for (const auto& id : std::vector<WorkerId>(known_.begin(), known_.end())) {
    if (const auto* worker = registry_.find(id); worker != nullptr && connected()) {
      add_worker(*worker, UniqueFd());
    }
  }
}

void DataPlane::on_worker_claimed(const worker::Worker& worker) {
  if (connected() && known_.contains(worker.id)) {
    add_worker(worker, UniqueFd());  // before its command can connect
  }
}

void DataPlane::serve_http(const std::string& network, const WorkerId& owner, UniqueFd listening) {
  send(link::HttpListen{network, std::move(listening), owner});
}

void DataPlane::close_http(const std::string& network) {
  send(link::HttpClose{network});
}

void DataPlane::on_worker_changed(const worker::Worker& worker) {
  if (!is_live(worker)) {
    on_worker_removed(worker.id);
  }
}

void DataPlane::on_worker_removed(const WorkerId& id) {
  if (known_.erase(id) > 0) {
    send(link::WorkerRemove{id});
  }
}

void DataPlane::on_workers_reconciled() {
  workers_reconciled_ = true;
  if (connected()) {
    sync_workers();
  }
}

void DataPlane::set_server(const server::Server& server) {
  link::ServerSet message;
  message.name = server.config.name;
  message.mode = server.config.mode == server::Mode::shared ? link::ServerMode::shared : link::ServerMode::session;
  message.max_sessions = server.config.max_sessions;
  message.max_requests = server.config.max_requests;
  message.request_timeout_ms = static_cast<std::uint64_t>(server.config.request_timeout.count());
  message.idle_timeout_ms = static_cast<std::uint64_t>(server.config.idle_timeout.count());
  message.tools = server.config.tools;
  message.configuration = server::fingerprint(server.config);
  message.audit = server.config.audit == server::Audit::off    ? link::Audit::off
                  : server.config.audit == server::Audit::hash ? link::Audit::hash
                                                               : link::Audit::arguments;
  send(std::move(message));
}

void DataPlane::on_server_changed(const server::Server& server) {
  set_server(server);
}

void DataPlane::on_server_removed(const std::string& name) {
  statistics_.erase(name);
  send(link::ServerRemove{name});
}

void DataPlane::on_instance_ready(const std::string& server, InstanceId instance,
                                  const std::optional<std::string>& session, UniqueFd to_server, UniqueFd from_server) {
  link::InstanceAttach message;
  message.server = server;
  message.instance = instance;
  if (session) {
    message.session = link::SessionId{*session};
  }
  message.to_server = std::move(to_server);
  message.from_server = std::move(from_server);
  send(std::move(message));
}

void DataPlane::on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason) {
  send(link::InstanceGone{server, instance, reason});
}

void DataPlane::on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                                      const std::string& reason, std::optional<std::chrono::milliseconds> retry_in) {
  link::ServerUnavailable message;
  message.server = server;
  if (session) {
    message.session = link::SessionId{*session};
  }
  message.reason = reason;
  if (retry_in) {
    message.retry_in_ms = static_cast<std::uint64_t>(retry_in->count());
  }
  send(std::move(message));
}

}  // namespace hal::daemon
