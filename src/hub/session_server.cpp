#include "hub/session_server.hpp"

#include "hub/handshake.hpp"
#include "hub/session_lane.hpp"

#include <utility>

namespace hal::hub {

SessionServer::SessionServer(ServerContext& context, link::ServerSet config) : Server(context, std::move(config)) {}

SessionServer::~SessionServer() = default;

Result<void> SessionServer::do_add(Client& client) {
  lanes_.emplace(client.id(), std::make_unique<SessionLane>(*this, context(), client));
  return {};
}

void SessionServer::do_remove(Client& client) {
  const auto found = lanes_.find(client.id());
  found->second->close();
  lanes_.erase(found);
}

void SessionServer::do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  lanes_.at(client.id())->from_client(message, line);
}

bool SessionServer::takes_batches(const Client& client) const {
  const auto found = lanes_.find(client.id());
  return found != lanes_.end() && found->second->revision() == batch_revision;
}

void SessionServer::client_drained(Client& client) {
  lanes_.at(client.id())->client_drained();
  Server::client_drained(client);
}

void SessionServer::attach(link::InstanceAttach instance) {
  for (const auto& [id, lane] : lanes_) {
    if (instance.session && lane->session() == instance.session->value) {
      return lane->slot().attach(std::move(instance));
    }
  }
  // The session left while its process was being started.
  context().to_daemon(link::InstanceRelease{name(), instance.instance});
}

void SessionServer::gone(const link::InstanceGone& news) {
  for (const auto& [id, lane] : lanes_) {
    lane->slot().gone(news);
  }
}

void SessionServer::unavailable(const link::ServerUnavailable& news) {
  for (const auto& [id, lane] : lanes_) {
    if (!news.session || lane->session() == news.session->value) {
      lane->slot().unavailable(news);
    }
  }
}

void SessionServer::daemon_returned() {
  for (const auto& [id, lane] : lanes_) {
    lane->slot().daemon_returned();
  }
}

std::vector<InstanceId> SessionServer::instances() const {
  std::vector<InstanceId> all;
  for (const auto& [id, lane] : lanes_) {
    if (const auto instance = lane->slot().instance()) {
      all.push_back(*instance);
    }
  }
  return all;
}

void SessionServer::shut_down(const std::string& reason) {
  for (const auto& [id, lane] : lanes_) {
    lane->shut_down(reason);
  }
}

}  // namespace hal::hub
