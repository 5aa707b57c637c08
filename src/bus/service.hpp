#pragma once

#include "base/strong_id.hpp"
#include "bus/backend.hpp"
#include "bus/jobs.hpp"
#include "event/loop.hpp"
#include "worker/parent.hpp"
#include "worker/pool.hpp"
#include "worker/registry.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace hal::bus {

class Connection;

/** The public D-Bus API: all objects, who may call them, and what is told of changes. */
class Service {
 public:
  /** All outlive the service. Answers they still owe are given, or cancelled, whenever they let go of them. */
  struct Parts {
    worker::Registry& registry;
    worker::Parent& parent;
    worker::Pool& pool;
    ServerControl& servers;
    DaemonControl& daemon;
    ServerEditor& editor;
    ImageControl& images;
  };

  /**
   * Exports what there is. Waits for the bus, so only at start-up; throws std::runtime_error. Nobody can call before
   * the connection has its well-known name: request it last.
   */
  Service(event::Loop& loop, Connection& connection, Parts parts);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /** A job of the daemon's own. */
  [[nodiscard]] Result<std::uint32_t> start_job(std::string kind, const Jobs::Begin& begin);

  // To be told after it happened. Changed properties go out together in the next turn of the loop.
  void on_worker_added(const worker::Worker& worker);
  void on_worker_changed(const WorkerId& id);
  void on_worker_removed(const WorkerId& id);
  void on_limit_hit(const WorkerId& id, std::string_view what);
  void on_server_added(const std::string& name);
  /** Also when its statistics have. */
  void on_server_changed(const std::string& name);
  void on_server_removed(const std::string& name);
  void on_parent_changed();
  void on_pool_changed();
  /** State or engine. */
  void on_daemon_changed();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hal::bus
