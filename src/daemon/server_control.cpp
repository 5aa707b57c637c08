#include "daemon/server_control.hpp"

#include <utility>

namespace hal::daemon {

namespace {

bus::SessionStatistics session_of(const link::SessionReport& report) {
  const auto& traffic = report.traffic;
  return {report.session,  report.worker,  report.owner,           traffic.requests,   traffic.calls,
          traffic.refused, traffic.errors, traffic.received_bytes, traffic.sent_bytes, traffic.latency};
}

}  // namespace

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
  const auto& traffic = counted.traffic;
  bus::ServerStatistics statistics{counted.sessions.size(),
                                   traffic.requests,
                                   traffic.errors,
                                   counted.protocol_version,
                                   counted.server_info,
                                   traffic.calls,
                                   traffic.refused,
                                   traffic.received_bytes,
                                   traffic.sent_bytes,
                                   traffic.latency,
                                   {}};
  for (const auto& session : counted.sessions) {
    statistics.session_list.push_back(session_of(session));
  }
  return statistics;
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

void ServerControl::trace(std::string_view name, bus::TraceRequest request, Done<UniqueFd> done) {
  data_plane_.trace(std::string(name), request, std::move(done));
}

}  // namespace hal::daemon
