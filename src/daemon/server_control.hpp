#pragma once

#include "bus/backend.hpp"
#include "daemon/data_plane.hpp"
#include "server/supervisor.hpp"

namespace hal::daemon {

/** MCP servers as the bus sees them: their processes are the supervisor's, their sessions the gateway's. */
class ServerControl final : public bus::ServerControl {
 public:
  ServerControl(server::Supervisor& supervisor, DataPlane& data_plane);

  [[nodiscard]] const server::Server* find(std::string_view name) const override;
  [[nodiscard]] std::vector<const server::Server*> all() const override;
  [[nodiscard]] bus::ServerStatistics statistics(std::string_view name) const override;
  void start(std::string_view name, Done<void> done) override;
  void stop(std::string_view name, Done<void> done) override;
  void restart(std::string_view name, Done<void> done) override;
  void call(std::string_view name, std::string method, std::string params, Done<std::string> done) override;
  void trace(std::string_view name, bus::TraceRequest request, Done<UniqueFd> done) override;

 private:
  server::Supervisor& supervisor_;
  DataPlane& data_plane_;
};

}  // namespace hal::daemon
