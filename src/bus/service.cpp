#include "bus/service.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "bus/authoriser.hpp"
#include "bus/calls.hpp"
#include "bus/connection.hpp"
#include "bus/jobs.hpp"
#include "bus/leases.hpp"
#include "bus/log_control.hpp"
#include "bus/manager_adaptor.hpp"
#include "bus/parent_adaptor.hpp"
#include "bus/pool_adaptor.hpp"
#include "bus/server_adaptor.hpp"
#include "bus/signals.hpp"
#include "bus/spawner.hpp"
#include "bus/worker_adaptor.hpp"
#include "event/sources.hpp"

#include <map>
#include <set>
#include <utility>
#include <variant>
#include <vector>

namespace hal::bus {

class Service::Impl {
 public:
  Impl(event::Loop& loop, const std::shared_ptr<sdbus::IConnection>& connection, Parts parts);

  void add_worker(const WorkerId& id);
  void remove_worker(const WorkerId& id);
  void limit_hit(const WorkerId& id, std::string_view what);
  void add_server(const std::string& name);
  void remove_server(const std::string& name);

  Result<std::uint32_t> start_job(std::string kind, const Jobs::Begin& begin) {
    return jobs_.start(std::move(kind), 0, begin);
  }

  void worker_changed(const WorkerId& id) { mark(changed_workers_, id); }
  void server_changed(const std::string& name) { mark(changed_servers_, name); }
  void parent_changed() { mark(parent_changed_); }
  void pool_changed() { mark(pool_changed_); }
  void manager_changed() { mark(manager_changed_); }

 private:
  template <class Key>
  void mark(std::set<Key>& changed, const Key& key) {
    changed.insert(key);
    flush_.schedule();
  }
  void mark(bool& changed) {
    changed = true;
    flush_.schedule();
  }
  void flush();
  void give_back(const WorkerId& id);
  [[nodiscard]] Jobs::Events job_events();

  std::shared_ptr<sdbus::IConnection> connection_;
  Parts parts_;
  Authoriser authoriser_;
  Calls calls_;
  Leases leases_;
  Jobs jobs_;
  Spawner spawner_;
  LogControl log_control_;
  ManagerAdaptor manager_;
  ParentAdaptor parent_;
  PoolAdaptor pool_;
  std::map<WorkerId, std::unique_ptr<WorkerAdaptor>> workers_;
  std::map<std::string, std::unique_ptr<ServerAdaptor>> servers_;

  std::set<WorkerId> changed_workers_;
  std::set<std::string> changed_servers_;
  bool parent_changed_ = false;
  bool pool_changed_ = false;
  bool manager_changed_ = false;
  bool jobs_changed_ = false;
  /** Objects whose end may have come in one of their own methods; freed before the next message is looked at. */
  std::vector<std::unique_ptr<WorkerAdaptor>> gone_workers_;
  std::vector<std::unique_ptr<ServerAdaptor>> gone_servers_;
  event::Defer flush_;
};

Service::Impl::Impl(event::Loop& loop, const std::shared_ptr<sdbus::IConnection>& connection, Parts parts)
    : connection_(connection),
      parts_(parts),
      authoriser_(loop, *connection),
      calls_(connection, authoriser_),
      leases_(loop, [this](const WorkerId& id) { give_back(id); }),
      jobs_(loop, *connection, calls_, job_events()),
      spawner_(parts.registry),
      log_control_(*connection, authoriser_),
      manager_(*connection, {parts.daemon, parts.registry, parts.editor, parts.images, calls_, jobs_, spawner_}),
      parent_(*connection, parts.parent, calls_),
      pool_(*connection, parts.pool, spawner_, calls_, jobs_),
      flush_(
          loop, "bus changes", [this] { flush(); }, event::Priority::urgent) {
  for (const auto* worker : parts_.registry.all()) {
    add_worker(worker->id);
  }
  for (const auto* server : parts_.servers.all()) {
    add_server(server->config.name);
  }
}

Jobs::Events Service::Impl::job_events() {
  return {
      .on_new = [this](std::uint32_t id) { manager_.tell_job_new(id); },
      .on_finished = [this](std::uint32_t id, std::string_view result) { manager_.tell_job_removed(id, result); },
      .on_changed = [this] { mark(jobs_changed_); },
  };
}

void Service::Impl::add_worker(const WorkerId& id) {
  if (workers_.count(id) != 0 || parts_.registry.find(id) == nullptr) {
    return;
  }
  auto adaptor = std::make_unique<WorkerAdaptor>(*connection_, WorkerContext{parts_.registry, calls_, leases_}, id);
  adaptor->announce();
  workers_.emplace(id, std::move(adaptor));
  manager_changed();
}

void Service::Impl::remove_worker(const WorkerId& id) {
  leases_.drop(id);
  auto node = workers_.extract(id);
  if (node.empty()) {
    return;
  }
  changed_workers_.erase(id);
  node.mapped()->withdraw();
  gone_workers_.push_back(std::move(node.mapped()));
  manager_changed();
}

void Service::Impl::limit_hit(const WorkerId& id, std::string_view what) {
  const auto found = workers_.find(id);
  if (found != workers_.end()) {
    emit([&] { found->second->emitLimitHit(std::string(what)); });
  }
}

void Service::Impl::add_server(const std::string& name) {
  if (servers_.count(name) != 0 || parts_.servers.find(name) == nullptr) {
    return;
  }
  auto adaptor = std::make_unique<ServerAdaptor>(*connection_, parts_.servers, calls_, name);
  adaptor->announce();
  servers_.emplace(name, std::move(adaptor));
}

void Service::Impl::remove_server(const std::string& name) {
  auto node = servers_.extract(name);
  if (node.empty()) {
    return;
  }
  changed_servers_.erase(name);
  node.mapped()->withdraw();
  gone_servers_.push_back(std::move(node.mapped()));
  flush_.schedule();
}

void Service::Impl::flush() {
  gone_workers_.clear();
  gone_servers_.clear();
  for (const auto& id : std::exchange(changed_workers_, {})) {
    if (const auto found = workers_.find(id); found != workers_.end()) {
      found->second->publish();
    }
  }
  for (const auto& name : std::exchange(changed_servers_, {})) {
    if (const auto found = servers_.find(name); found != servers_.end()) {
      found->second->publish();
    }
  }
  if (std::exchange(parent_changed_, false)) {
    parent_.publish();
  }
  if (std::exchange(pool_changed_, false)) {
    pool_.publish();
  }
  if (std::exchange(manager_changed_, false)) {
    manager_.publish();
  }
  if (std::exchange(jobs_changed_, false)) {
    jobs_.publish();
  }
}

void Service::Impl::give_back(const WorkerId& id) {
  log::info({{names::field_worker, id.value}}, "the last lease of worker {} is closed: it is given back", id.value);
  parts_.registry.remove(id, [id](const Result<void>& removed) {
    if (!removed && removed.error().code != Errc::not_found) {
      log::error({{names::field_worker, id.value}}, "worker {} cannot be given back: {}", id.value,
                 removed.error().message);
    }
  });
}

Service::Service(event::Loop& loop, Connection& connection, Parts parts)
    : impl_(std::make_unique<Impl>(loop, connection.get(), parts)) {}

Service::~Service() = default;

Result<std::uint32_t> Service::start_job(std::string kind, const Jobs::Begin& begin) {
  return impl_->start_job(std::move(kind), begin);
}

void Service::on_worker_added(const worker::Worker& worker) {
  impl_->add_worker(worker.id);
}

void Service::on_worker_changed(const WorkerId& id) {
  impl_->worker_changed(id);
}

void Service::on_worker_removed(const WorkerId& id) {
  impl_->remove_worker(id);
}

void Service::on_limit_hit(const WorkerId& id, std::string_view what) {
  impl_->limit_hit(id, what);
}

void Service::on_server_added(const std::string& name) {
  impl_->add_server(name);
}

void Service::on_server_changed(const std::string& name) {
  impl_->server_changed(name);
}

void Service::on_server_removed(const std::string& name) {
  impl_->remove_server(name);
}

void Service::on_parent_changed() {
  impl_->parent_changed();
}

void Service::on_pool_changed() {
  impl_->pool_changed();
}

void Service::on_daemon_changed() {
  impl_->manager_changed();
}

}  // namespace hal::bus
