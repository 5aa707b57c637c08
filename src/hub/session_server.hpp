#pragma once

#include "hub/server.hpp"

#include <map>
#include <memory>
#include <vector>

namespace hal::hub {

class SessionLane;

/**
 * A process for each client. Messages pass as they are; only requests are remembered, so that the end of the process
 * answers them. Then the session ends too: what the process knew of it is lost.
 */
class SessionServer final : public Server {
 public:
  SessionServer(ServerContext& context, link::ServerSet config);
  ~SessionServer() override;

  [[nodiscard]] bool takes_batches(const Client& client) const override;
  void client_drained(Client& client) override;
  void attach(link::InstanceAttach instance) override;
  void gone(const link::InstanceGone& news) override;
  void unavailable(const link::ServerUnavailable& news) override;
  void daemon_returned() override;
  [[nodiscard]] std::vector<InstanceId> instances() const override;
  void shut_down(const std::string& reason) override;

 private:
  friend class SessionLane;

  Result<void> do_add(Client& client) override;
  void do_remove(Client& client) override;
  void do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) override;
  void save_client(Saver& archive, const Client& client) override;
  void load_client(Loader& archive, Client& client) override;

  std::map<ClientId, std::unique_ptr<SessionLane>> lanes_;
};

}  // namespace hal::hub
