#include "daemon/daemon.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/startup_pages.hpp"
#include "build_config.hpp"
#include "daemon/folders.hpp"
#include "daemon/stop_all.hpp"
#include "host/kernel_log.hpp"
#include "host/notify.hpp"
#include "host/slice.hpp"
#include "host/terminals.hpp"
#include "host/unit_launcher.hpp"
#include "host/usage.hpp"
#include "server/child_launcher.hpp"
#include "worker/run_folder.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::daemon {

namespace {

/** The engine and the parent have this long before the daemon says it is ready without them. */
constexpr auto ready_deadline = std::chrono::seconds(20);
/** MCP servers that are our children have this long to end. */
constexpr auto stop_deadline = std::chrono::seconds(15);

bool as_units(RunAs run_as) {
  return run_as == RunAs::unit || (run_as == RunAs::automatic && host::systemd_booted());
}

std::vector<std::string> names_of(const server::Supervisor& supervisor) {
  std::vector<std::string> names;
  for (const auto* server : supervisor.all()) {
    names.push_back(server->config.name);
  }
  return names;
}

image::Scripts::Options image_options(const Places& places, const std::string& engine_socket) {
  return {places.vendor_dir + "/docker", places.cache_dir + "/images", engine_socket, build::version};
}

GatewayHost::Options gateway_options(const Places& places, const Config& config) {
  GatewayHost::Options options;
  if (as_units(config.gateway)) {
    options.unit_socket = places.run_dir + "/gateway.sock";
  } else {
    options.program = places.programs_dir + "/hal9000-gateway";
  }
  return options;
}

std::unique_ptr<server::Launcher> make_launcher(event::Loop& loop, bool units, const char* user,
                                                host::Sandbox sandbox = host::Sandbox::server) {
  if (units) {
    return std::make_unique<host::UnitLauncher>(loop, host::UnitLauncher::Options{.user = user, .sandbox = sandbox});
  }
  return std::make_unique<server::ChildLauncher>(loop, user);
}

}  // namespace

Daemon::Daemon(event::Loop& loop, Options options)
    : loop_(loop),
      places_(with_folders(options.places)),
      config_(std::move(options.config)),
      settings_(config_.worker),
      curl_(loop),
      engine_(loop,
              {.socket = config_.engine_socket, .instance = settings_.instance, .slice_path = host::slice_path()}),
      binder_(loop),
      sockets_(loop),
      heartbeat_(curl_, sockets_),
      parent_(
          loop, engine_, settings_, [this](pid_t pid, Done<void> done) { heartbeat_.ask(pid, std::move(done)); },
          [this] { return registry_.in_use(); }),
      registry_({loop, engine_, binder_, settings_, [this] { return parent_.container(); },
                 [this] { return names_of(supervisor_); },
                 [this](pid_t pid) {
                   const auto used = usage_.read(pid);
                   return worker::ContainerUsage{used.memory_bytes, used.file_bytes, used.cpu_nanoseconds, used.tasks};
                 },
                 [this](pid_t pid) { return host::same_network(pid, parent_.pid()).value_or(true); },
                 host::last_terminal_activity,
                 [](const ContainerId& id) { return host::memory_victim(host::read_kernel_log(), id.value); }}),
      tasks_watch_(loop, usage_,
                   [this](auto& id, pid_t pid) { registry_.on_tasks_refused(id, usage_.busiest_program(pid)); }),
      pool_({loop, registry_, engine_, settings_, [this] { return missing_for_pool(); }}),
      follower_({loop, registry_, [this] { return registry_.stranded(); }, [this] { return missing().empty(); }}),
      pressure_(loop, host::PressureWatch::files(), [this](auto level) { pool_.on_pressure(level); }),
      units_(as_units(config_.servers)),
      launcher_(make_launcher(loop, units_, server::ChildLauncher::default_user)),
      data_plane_(loop, registry_, gateway_options(places_, config_)),
      http_sockets_(
          {loop, host::network_name,
           [this](pid_t pid, auto done) { sockets_.listening(pid, names::worker_http_port, std::move(done)); },
           [this](const std::string& network, const WorkerId& owner, UniqueFd listening) {
             data_plane_.serve_http(network, owner, std::move(listening));
           },
           [this](const std::string& network) { data_plane_.close_http(network); }}),
      supervisor_(loop, *launcher_, *this),
      server_control_(supervisor_, data_plane_),
      installer_(loop, make_launcher(loop, units_, install::user()), places_.state_dir + "/package", install::user()),
      server_editor_({loop, supervisor_, data_plane_, installer_, mcp_directory(places_), mcp_options(places_),
                      [this]() -> const server::ServerConfigs& { return config_.mcp; },
                      [this] { return read_mcp_servers(places_); }, [this] { return apply_servers(); }}),
      scripts_(loop, make_launcher(loop, units_, "root", host::Sandbox::builder),
               image_options(places_, config_.engine_socket)),
      images_({loop, engine_, settings_, scripts_,
               [this](auto kind, auto begin) { return service_.start_job(std::move(kind), begin); },
               [this] { on_images_changed(); }, [this] { on_images_complete(); }}),
      connection_(loop, options.bus,
                  [this](std::string_view reason) {
                    log::critical({}, "the bus is gone: {}", reason);
                    loop_.exit(1);
                  }),
      service_(loop, connection_, {registry_, parent_, pool_, server_control_, *this, server_editor_, images_}),
      status_(loop, "status", [this] { host::notify_status(status()); }),
      started_(loop, "started", drop_startup_pages, event::Priority::idle),
      ready_deadline_(loop, "ready deadline", [this] { become_ready("without the container engine"); }),
      stop_deadline_(loop, "stop deadline",
                     [this] {
                       log::warning({}, "MCP servers did not end in time; killing them");
                       loop_.exit(0);
                     }),
      term_(loop, SIGTERM, "SIGTERM", [this] { stop(); }),
      interrupt_(loop, SIGINT, "SIGINT", [this] { stop(); }),
      hangup_(loop, SIGHUP, "SIGHUP", [this] { reload([](const Result<void>&) {}); }) {
  log::set_max_level(config_.log_level);
  log::info({{names::field_message_id, names::message_id_config_loaded}}, "configuration read from {} and {}",
            places_.vendor_dir, places_.config_dir);
  data_plane_.set_supervisor(&supervisor_);
  data_plane_.set_on_statistics([this](const std::string& server) { service_.on_server_changed(server); });
  data_plane_.set_token_of([this](const WorkerId& id) { return worker::worker_token(settings_, id); });
  data_plane_.set_grants_of([this](const worker::Worker& worker) { return worker::grants_of(settings_, worker); });
  data_plane_.set_on_gateway([this](auto networks) { http_sockets_.on_gateway(std::move(networks)); });
  registry_.set_listener(this);
  parent_.set_listener(this);
  pool_.set_listener(this);
  if (!pressure_.watching()) {
    pool_.without_pressure();
  }
  engine_.set_listener(this);
  use_servers();
  server_editor_.sweep();
  data_plane_.start();
  ready_deadline_.arm(ready_deadline);
}

Daemon::~Daemon() = default;

// --- ready, reload, stop -------------------------------------------------------------------------------------------

void Daemon::become_ready(std::string_view how) {
  if (ready_ || stopping_) {
    return;
  }
  ready_ = true;
  ready_deadline_.disarm();
  connection_.request_name(names::bus_name);
  log::info({}, "hal9000d {} is ready {}", build::version, how);
  host::notify_ready(status());
  started_.schedule();
  status_changed();
}

void Daemon::reload(Done<void> done) {
  host::notify_reloading();
  const auto result = apply_config();
  host::notify_ready(status());
  if (result) {
    log::info({{names::field_message_id, names::message_id_config_loaded}}, "configuration read again");
  } else {
    log::error({{names::field_message_id, names::message_id_config_refused}},
               "configuration: {}; the old settings stay", result.error().message);
  }
  status_changed();
  event::post(loop_, "reload", [result, done = std::move(done)] { done(result); });
}

Result<void> Daemon::apply_config() {
  auto fresh = read_config(places_);
  if (!fresh) {
    return fresh.error();
  }
  const bool needs_restart = fresh->engine_socket != config_.engine_socket || fresh->gateway != config_.gateway ||
                             fresh->servers != config_.servers || fresh->worker.instance != settings_.instance ||
                             fresh->worker.parent_network != settings_.parent_network ||
                             fresh->worker.parent_image != settings_.parent_image;
  if (needs_restart) {
    log::notice({}, "instance, engine, gateway, servers.run and parent settings take effect at the next start");
  }
  config_ = *std::move(fresh);
  settings_.profiles = config_.worker.profiles;
  settings_.default_profile = config_.worker.default_profile;
  settings_.owners = config_.worker.owners;
  settings_.other_owners = config_.worker.other_owners;
  settings_.pool = config_.worker.pool;
  registry_.on_profiles_changed();
  on_image_event();
  data_plane_.on_grants_changed();
  log::set_max_level(config_.log_level);
  use_servers();
  return {};
}

Result<void> Daemon::apply_servers() {
  auto fresh = read_mcp_servers(places_);
  if (!fresh) {
    return fresh.error();
  }
  config_.mcp = *std::move(fresh);
  use_servers();
  return {};
}

void Daemon::use_servers() {
  for (const auto& note : config_.mcp.notes) {
    log::notice({}, "{}", note);
  }
  supervisor_.apply(config_.mcp.servers);
}

void Daemon::stop() {
  if (stopping_) {
    return;
  }
  stopping_ = true;
  host::notify_stopping();
  service_.on_daemon_changed();
  log::info({}, "stopping; workers go on");
  if (units_) {
    loop_.exit(0);  // servers and gateway are the service manager's, and keep their sessions
    return;
  }
  stop_deadline_.arm(stop_deadline);
  supervisor_.stop_all([this](const Result<void>&) {
    data_plane_.stop();
    loop_.exit(0);
  });
}

worker::OperationHandle Daemon::stop_all(std::chrono::milliseconds timeout, Progress progress, Done<void> done) {
  return std::make_unique<StopAll>(loop_, registry_, timeout, std::move(progress), std::move(done));
}

// --- what the daemon says of itself --------------------------------------------------------------------------------

std::string Daemon::version() const {
  return build::version;
}

std::string Daemon::state() const {
  if (stopping_) {
    return "stopping";
  }
  if (!ready_) {
    return "starting";
  }
  const bool well = engine_.up() && images_.complete() && parent_.state() == worker::Parent::State::running &&
                    data_plane_.connected();
  return well && !pool_.status().degraded ? "running" : "degraded";
}

bus::EngineStatus Daemon::engine() const {
  return {engine_.up(), engine_.up() ? "" : engine_reason_, engine_.info()};
}

std::vector<std::string> Daemon::features() const {
  std::vector<std::string> features = {"spawn-at",    "late-binding",   "exec",         "attach",
                                       "server-call", "server-install", "server-trace", "images"};
  features.emplace_back(units_ ? "servers-as-units" : "servers-as-children");
  return features;
}

void Daemon::status_changed() {
  service_.on_daemon_changed();
  status_.schedule();
}

std::string Daemon::status() const {
  std::size_t running_servers = 0;
  const auto servers = supervisor_.all();
  for (const auto* server : servers) {
    running_servers += server->state == server::State::running ? 1 : 0;
  }
  const auto workers = registry_.all();
  const auto running = std::count_if(workers.begin(), workers.end(),
                                     [](const auto* worker) { return worker->state == worker::State::running; });
  const auto pool = pool_.status();
  const std::string warm = pool.degraded ? "; pool: " + pool.reason : fmt::format(" and {} warm", pool.warm);
  const std::string engine = engine_.up()
                                 ? fmt::format("engine {} (API {})", engine_.info().version, engine_.info().api_version)
                                 : fmt::format("no engine: {}", engine_reason_);
  const std::string parent =
      parent_.state() == worker::Parent::State::running ? "" : fmt::format("; parent: {}", parent_.reason());
  const std::string images = images_.complete() ? "" : fmt::format("; images: {}", images_.status());
  return fmt::format("{} {} running{}, {}/{} MCP servers, {}{}{}", running, running == 1 ? "worker" : "workers", warm,
                     running_servers, servers.size(), engine, parent, images);
}

// --- news of the parts ---------------------------------------------------------------------------------------------

void Daemon::on_engine_up(const worker::EngineInfo& info) {
  log::info({{names::field_message_id, names::message_id_engine_connected}},
            "container engine {} (API {}, {}, cgroup v{}) connected", info.version, info.api_version,
            info.storage_driver, info.cgroup_version);
  registry_.reconcile([this](const Result<void>& result) { reconciled(result); });
  images_.look();
  status_changed();
}

void Daemon::reconciled(const Result<void>& result) {
  if (!result) {
    log::error({}, "workers could not be taken up: {}", result.error().message);
  } else {
    data_plane_.on_workers_reconciled();
  }
  parent_.reconcile([this, known = result.has_value()](const Result<void>& made) {
    if (known) {
      http_sockets_.on_workers_known();
    }
    follower_.look();
    pool_.start();
    registry_.on_makeable();
    become_ready(made ? "" : "without the parent container");
  });
}

std::string Daemon::missing() const {
  if (!engine_.up()) {
    return "the container engine is not reachable";
  }
  return parent_.container().value.empty() ? "the parent container is not running" : "";
}

void Daemon::on_engine_down(const Error& reason) {
  engine_reason_ = reason.message;
  log::error({{names::field_message_id, names::message_id_engine_lost}}, "container engine: {}", reason.message);
  parent_.on_engine_down();
  pool_.look();
  become_ready("without the container engine");
  status_changed();
}

void Daemon::on_container_event(const worker::ContainerEvent& event) {
  registry_.on_container_event(event);
  parent_.on_container_event(event);
}

std::string Daemon::missing_for_pool() const {
  auto what = missing();
  return what.empty() ? images_.on_its_way(settings_.profiles.at(settings_.default_profile).image) : what;
}

void Daemon::on_image_event() {
  images_.look();
  pool_.look_at_image();
}

void Daemon::on_images_changed() {
  pool_.look_at_image();
  status_changed();
}

void Daemon::on_images_complete() {
  parent_.retry_now();
  pool_.look_at_image();
}

void Daemon::on_worker_added(const worker::Worker& worker) {
  tasks_watch_.follow(worker.id, worker.pid);
  service_.on_worker_added(worker);
  status_changed();
}

void Daemon::on_worker_changed(const worker::Worker& worker) {
  tasks_watch_.follow(worker.id, worker.pid);
  http_sockets_.on_worker(worker.id, worker.pid, worker.network == worker::Network::isolated);
  data_plane_.on_worker_changed(worker);
  service_.on_worker_changed(worker.id);
  follower_.on_worker_changed(worker.id);
  parent_.on_use();
  status_changed();
}

void Daemon::on_worker_removed(const WorkerId& id) {
  tasks_watch_.follow(id, 0);
  http_sockets_.on_worker(id, 0, false);
  data_plane_.on_worker_removed(id);
  service_.on_worker_removed(id);
  status_changed();
}

void Daemon::on_limit_hit(const WorkerId& id, std::string_view what) {
  service_.on_limit_hit(id, what);
}

void Daemon::on_gateway_socket(const worker::Worker& worker, UniqueFd listening) {
  data_plane_.on_gateway_socket(worker, std::move(listening));
}

void Daemon::on_own_network(const worker::Worker& worker, Done<void> made) {
  http_sockets_.prepare(worker.id, worker.pid, std::move(made));
}

void Daemon::on_worker_claimed(const worker::Worker& worker) {
  data_plane_.on_worker_claimed(worker);
}

void Daemon::on_pool_changed() {
  service_.on_pool_changed();
  status_changed();
}

void Daemon::on_parent_changed() {
  if (missing().empty()) {
    registry_.on_makeable();
  }
  service_.on_parent_changed();
  status_changed();
}

void Daemon::on_namespace(bool available) {
  UniqueFd network;
  if (available) {
    if (auto opened = host::open_network_namespace(parent_.pid()); opened) {
      network = *std::move(opened);
    } else {
      log::error({}, "the parent's network namespace: {}", opened.error().message);
    }
  }
  supervisor_.set_network_namespace(std::move(network));
  http_sockets_.on_holder(available ? parent_.pid() : 0);
  if (available) {
    registry_.on_parent_replaced();
    follower_.look();
  }
  pool_.look_at_image();
}

void Daemon::on_server_added(const server::Server& server) {
  data_plane_.on_server_changed(server);
  service_.on_server_added(server.config.name);
  status_changed();
}

void Daemon::on_server_changed(const server::Server& server) {
  data_plane_.on_server_changed(server);
  service_.on_server_changed(server.config.name);
  status_changed();
}

void Daemon::on_server_removed(const std::string& name) {
  data_plane_.on_server_removed(name);
  service_.on_server_removed(name);
  status_changed();
}

void Daemon::on_instance_ready(const std::string& server, InstanceId instance,
                               const std::optional<std::string>& session, UniqueFd to_server, UniqueFd from_server) {
  data_plane_.on_instance_ready(server, instance, session, std::move(to_server), std::move(from_server));
}

void Daemon::on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason) {
  data_plane_.on_instance_gone(server, instance, reason);
}

void Daemon::on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                                   const std::string& reason, std::optional<std::chrono::milliseconds> retry_in) {
  data_plane_.on_server_unavailable(server, session, reason, retry_in);
}

}  // namespace hal::daemon
