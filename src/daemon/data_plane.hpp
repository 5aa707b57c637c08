#pragma once

#include "base/result.hpp"
#include "bus/backend.hpp"
#include "daemon/gateway_host.hpp"
#include "link/daemon_end.hpp"
#include "link/messages.hpp"
#include "policy/grant.hpp"
#include "server/supervisor.hpp"
#include "worker/registry.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hal::daemon {

/**
 * Ties workers and MCP servers to the gateway: tells it what exists, hands over sockets and stdio, passes on what it
 * needs. After every new connection the gateway says what it has, and this makes the rest good.
 */
class DataPlane final : private link::DaemonEndListener {
 public:
  /** What the gateway counts of one server. */
  struct Statistics {
    link::Traffic traffic;
    std::vector<link::SessionReport> sessions;
    std::string protocol_version;
    /** JSON text. */
    std::string server_info;
  };

  DataPlane(event::Loop& loop, worker::Registry& registry, GatewayHost::Options options);
  ~DataPlane() override;

  /** The supervisor is made later, because it listens to what this passes on. Set before start(). */
  void set_supervisor(server::Supervisor* supervisor) { supervisor_ = supervisor; }
  void set_on_statistics(std::function<void(const std::string& server)> callback) {
    on_statistics_ = std::move(callback);
  }
  /** The worker's bearer token. */
  void set_token_of(std::function<Result<std::string>(const WorkerId&)> callback) { token_of_ = std::move(callback); }
  /** What bounds the worker's servers and tools. */
  void set_grants_of(std::function<std::vector<const policy::Grant*>(const worker::Worker&)> callback) {
    grants_of_ = std::move(callback);
  }
  /** The grants have changed. */
  void on_grants_changed();
  /** The gateway has connected and serves MCP over HTTP in these networks; unset: it is gone. */
  void set_on_gateway(std::function<void(std::optional<std::vector<std::string>> http_networks)> callback) {
    on_gateway_ = std::move(callback);
  }

  void start();
  void stop();
  [[nodiscard]] bool connected() const noexcept { return link_ != nullptr && link_->ready(); }
  [[nodiscard]] Statistics statistics(const std::string& server) const;

  /** A request of the daemon's own to a server; the answer is JSON text. */
  void call(const std::string& server, const std::string& method, const std::string& params, Done<std::string> done);

  /** The read end of a server's live traffic. */
  void trace(const std::string& server, const bus::TraceRequest& request, Done<UniqueFd> done);

  /** `owner`: the only worker to be served there, or empty. */
  void serve_http(const std::string& network, const WorkerId& owner, UniqueFd listening);
  void close_http(const std::string& network);

  // What the registry and the supervisor report, for the gateway.
  void on_gateway_socket(const worker::Worker& worker, UniqueFd listening);
  void on_worker_claimed(const worker::Worker& worker);
  void on_worker_changed(const worker::Worker& worker);
  void on_worker_removed(const WorkerId& id);
  /** All workers are known now: the gateway may forget those that are not among them. */
  void on_workers_reconciled();
  void on_server_changed(const server::Server& server);
  void on_server_removed(const std::string& name);
  void on_instance_ready(const std::string& server, InstanceId instance, const std::optional<std::string>& session,
                         UniqueFd to_server, UniqueFd from_server);
  void on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason);
  void on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                             const std::string& reason, std::optional<std::chrono::milliseconds> retry_in);

 private:
  void on_hello(const link::GatewayHello& hello) override;
  void on_instance_request(const link::InstanceRequest& request) override;
  void on_instance_release(const link::InstanceRelease& release) override;
  void on_server_report(const link::ServerReport& report) override;
  void on_worker_report(const link::WorkerReport& report) override;
  void on_call_result(const link::CallResult& result) override;
  void on_link_closed(const Error& error) override;

  void send(link::ToGateway message);
  void break_link(const Error& error);
  [[nodiscard]] Result<void> may_trace(const bus::TraceRequest& request) const;
  /** Asks the gateway what it answers with a CallResult; or answers why it cannot. */
  void ask(link::ToGateway message, std::uint64_t id, Done<std::string> done);
  void set_server(const server::Server& server);
  void sync_workers();
  void add_worker(const worker::Worker& worker, UniqueFd listening);

  event::Loop& loop_;
  worker::Registry& registry_;
  server::Supervisor* supervisor_ = nullptr;
  std::function<void(const std::string&)> on_statistics_;
  std::function<Result<std::string>(const WorkerId&)> token_of_;
  std::function<std::vector<const policy::Grant*>(const worker::Worker&)> grants_of_;
  std::function<void(std::optional<std::vector<std::string>>)> on_gateway_;
  GatewayHost host_;
  std::unique_ptr<link::DaemonEnd> link_;
  /** Tells that the link is gone, from the loop: it breaks inside of calls. */
  event::Defer broken_;
  std::string broken_by_;
  /** Workers the gateway has. */
  std::set<WorkerId> known_;
  bool workers_reconciled_ = false;
  std::map<std::string, Statistics> statistics_;
  std::map<std::uint64_t, Done<std::string>> calls_;
  std::uint64_t next_call_ = 1;
};

}  // namespace hal::daemon
