#pragma once

#include "hub/aggregate_session.hpp"
#include "hub/server.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hal::hub {

/**
 * All servers a worker may use, as if they were one: tools and prompts are called SERVER__NAME. To its clients a
 * server, to the servers a client for each of its own, so that rules, counters and audit are those of each server. Has
 * no process. `docs/MCP.md` has the rules for each message.
 */
class AggregateServer final : public Server {
 public:
  /** What it needs of the hub, which owns it. */
  class Directory {
   public:
    virtual ~Directory() = default;
    /** Names of the servers there are that this worker may use, in order. */
    [[nodiscard]] virtual std::vector<std::string> servers_of(const WorkerId& worker) const = 0;
    [[nodiscard]] virtual ClientId new_client() = 0;
    [[nodiscard]] virtual Result<Server*> join(Client& client, const WorkerId& worker, const std::string& server) = 0;
  };

  AggregateServer(ServerContext& context, Directory& directory);
  ~AggregateServer() override;

  /** The servers there are, or those a worker may use, have changed. */
  void update();
  /** This one is being destroyed and has answered all that was open. */
  void detach(const Server& server, const std::string& reason);

  [[nodiscard]] bool takes_batches(const Client& client) const override;
  [[nodiscard]] bool has_program() const override { return false; }
  void client_drained(Client& client) override;
  void shut_down(const std::string& reason) override;
  void attach(link::InstanceAttach) override {}
  void gone(const link::InstanceGone&) override {}
  void unavailable(const link::ServerUnavailable&) override {}
  void daemon_returned() override {}
  [[nodiscard]] std::vector<InstanceId> instances() const override { return {}; }

 private:
  friend class AggregateSession;

  Result<void> do_add(Client& client) override;
  void do_remove(Client& client) override;
  void do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) override;

  [[nodiscard]] Directory& directory() { return directory_; }
  [[nodiscard]] const limits::Deadlines& deadlines() { return context().deadlines; }
  /** What a server has said of itself to one session is told to the next ones. */
  void learn(const std::string& server, const std::string& instructions);
  /** Of those servers that are known, each under its name. */
  [[nodiscard]] std::string instructions(const std::vector<std::string>& servers) const;

  Directory& directory_;
  std::map<std::string, std::string> instructions_;
  std::map<ClientId, std::unique_ptr<AggregateSession>> sessions_;
};

}  // namespace hal::hub
