#pragma once

#include "bus/backend.hpp"
#include "bus/connection.hpp"
#include "bus/service.hpp"
#include "curl/multi.hpp"
#include "daemon/chroma_heartbeat.hpp"
#include "daemon/config.hpp"
#include "daemon/data_plane.hpp"
#include "daemon/http_sockets.hpp"
#include "daemon/images.hpp"
#include "daemon/server_control.hpp"
#include "daemon/server_editor.hpp"
#include "engine/client.hpp"
#include "event/sources.hpp"
#include "host/binder.hpp"
#include "host/net_socket.hpp"
#include "host/pressure.hpp"
#include "host/tasks_watch.hpp"
#include "host/usage.hpp"
#include "image/scripts.hpp"
#include "install/installer.hpp"
#include "server/supervisor.hpp"
#include "worker/live_parent.hpp"
#include "worker/live_pool.hpp"
#include "worker/live_registry.hpp"

#include <memory>
#include <string>
#include <vector>

namespace hal::daemon {

/**
 * hal9000d: makes all parts, ties them together and carries news from one to the others. What each part tells goes to
 * the bus, to the gateway, or to the service manager from here and nowhere else.
 */
class Daemon final : private worker::Runtime::Listener,
                     private worker::Registry::Listener,
                     private worker::Parent::Listener,
                     private worker::Pool::Listener,
                     private server::Supervisor::Listener,
                     private bus::DaemonControl {
 public:
  struct Options {
    Places places;
    Config config;
    bus::BusKind bus = bus::BusKind::system;
  };

  /** Throws std::exception where the host makes it impossible: no bus, no folders. */
  Daemon(event::Loop& loop, Options options);
  ~Daemon() override;

 private:
  // The engine.
  void on_engine_up(const worker::EngineInfo& info) override;
  void on_engine_down(const Error& reason) override;
  void on_container_event(const worker::ContainerEvent& event) override;
  void on_image_event() override;
  // Workers.
  void on_worker_added(const worker::Worker& worker) override;
  void on_worker_changed(const worker::Worker& worker) override;
  void on_worker_removed(const WorkerId& id) override;
  void on_limit_hit(const WorkerId& id, std::string_view what) override;
  void on_gateway_socket(const worker::Worker& worker, UniqueFd listening) override;
  void on_own_network(const worker::Worker& worker, Done<void> made) override;
  void on_worker_claimed(const worker::Worker& worker) override;
  // The parent.
  void on_parent_changed() override;
  void on_namespace(bool available) override;
  // The pool.
  void on_pool_changed() override;
  // MCP servers.
  void on_server_added(const server::Server& server) override;
  void on_server_changed(const server::Server& server) override;
  void on_server_removed(const std::string& name) override;
  void on_instance_ready(const std::string& server, InstanceId instance, const std::optional<std::string>& session,
                         UniqueFd to_server, UniqueFd from_server) override;
  void on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason) override;
  void on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                             const std::string& reason, std::optional<std::chrono::milliseconds> retry_in) override;
  // The bus.
  [[nodiscard]] std::string version() const override;
  [[nodiscard]] std::string state() const override;
  [[nodiscard]] bus::EngineStatus engine() const override;
  [[nodiscard]] std::vector<std::string> features() const override;
  void reload(Done<void> done) override;
  [[nodiscard]] worker::OperationHandle stop_all(std::chrono::milliseconds timeout, Progress progress,
                                                 Done<void> done) override;

  void reconciled(const Result<void>& result);
  /** What is missing for making a worker, or empty. */
  [[nodiscard]] std::string missing() const;
  [[nodiscard]] std::string missing_for_pool() const;
  void on_images_changed();
  void on_images_complete();
  void become_ready(std::string_view how);
  void stop();
  Result<void> apply_config();
  Result<void> apply_servers();
  void use_servers();
  void status_changed();
  /** One line for people. */
  [[nodiscard]] std::string status() const;

  event::Loop& loop_;
  Places places_;
  Config config_;
  /** What workers and parent read; changed by a reload. */
  worker::Settings settings_;
  bool ready_ = false;
  bool stopping_ = false;
  std::string engine_reason_ = "not asked yet";

  curl::Multi curl_;
  engine::Client engine_;
  host::MountBinder binder_;
  host::NetSockets sockets_;
  host::UsageReader usage_;
  ChromaHeartbeat heartbeat_;
  worker::LiveParent parent_;
  worker::LiveRegistry registry_;
  host::TasksWatch tasks_watch_;
  worker::LivePool pool_;
  worker::Follower follower_;
  host::PressureWatch pressure_;
  bool units_;
  std::unique_ptr<server::Launcher> launcher_;
  DataPlane data_plane_;
  HttpSockets http_sockets_;
  server::Supervisor supervisor_;
  ServerControl server_control_;
  install::Installer installer_;
  ServerEditor server_editor_;
  image::Scripts scripts_;
  Images images_;
  bus::Connection connection_;
  bus::Service service_;

  event::Defer status_;
  event::Defer started_;
  event::Timer ready_deadline_;
  event::Timer stop_deadline_;
  event::Signal term_;
  event::Signal interrupt_;
  event::Signal hangup_;
};

}  // namespace hal::daemon
