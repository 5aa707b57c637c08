#include "daemon/server_control.hpp"

#include <utility>

namespace hal::daemon {

ServerControl::ServerControl(server::Supervisor& supervisor, DataPlane& data_plane)
    : supervisor_(supervisor), data_plane_(data_plane) {}

const server::Server* ServerControl::find(std::string_view name) const {
  return supervisor_.find(name);
}

std::vector<const server::Server*> ServerControl::all() const {
  return supervisor_.all();
}

bus::ServerStatistics ServerControl::statistics(std::string_view name) const {
  const auto counted = data_plane_.statistics(std::string(name));
  return {counted.sessions.size(), counted.traffic.requests, counted.traffic.errors, counted.protocol_version,
          counted.server_info};
}

void ServerControl::start(std::string_view name, Done<void> done) {
  supervisor_.start(name, std::move(done));
}

void ServerControl::stop(std::string_view name, Done<void> done) {
  supervisor_.stop(name, std::move(done));
}

void ServerControl::restart(std::string_view name, Done<void> done) {
  supervisor_.restart(name, std::move(done));
}

void ServerControl::call(std::string_view name, std::string method, std::string params, Done<std::string> done) {
  data_plane_.call(std::string(name), method, params, std::move(done));
}

}  // namespace hal::daemon
