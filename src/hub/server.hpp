#pragma once

#include "base/result.hpp"
#include "event/loop.hpp"
#include "hub/account.hpp"
#include "hub/audit_log.hpp"
#include "hub/client.hpp"
#include "jsonrpc/envelope.hpp"
#include "link/messages.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hal::hub {

/** What a server needs of the hub. */
struct ServerContext {
  event::Loop& loop;
  std::function<void(link::ToDaemon)> to_daemon;
  /** A counter has changed since the last report. */
  std::function<void(const std::string& server)> on_changed;
  AuditLog& audit;
};

/** One MCP server as its clients see it; the two modes are its two implementations. Owned by the hub. */
class Server {
 public:
  Server(ServerContext& context, link::ServerSet config);
  virtual ~Server() = default;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] const std::string& name() const { return config_.name; }
  [[nodiscard]] const link::ServerSet& config() const { return config_; }
  virtual void set_config(link::ServerSet config) { config_ = std::move(config); }
  /** The counters; the next change is announced again. */
  [[nodiscard]] link::ServerReport report();

  /** A new session, before its first message. Errc::limit: one too many. */
  [[nodiscard]] Result<void> add(Client& client, std::shared_ptr<const Access> access);
  /** The client is gone: what it waits for is cancelled at the server. */
  void remove(Client& client);
  /** A valid message of an added client. Calls it may not make are answered here and go no further. */
  void from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line);

  /** Whether the revision agreed with the client has batches. */
  [[nodiscard]] virtual bool takes_batches(const Client& client) const = 0;

  /** The client has read all that was delivered. */
  virtual void client_drained(Client& client) { (void)client; }

  virtual void attach(link::InstanceAttach instance) = 0;
  virtual void gone(const link::InstanceGone& news) = 0;
  virtual void unavailable(const link::ServerUnavailable& news) = 0;
  /** A new daemon does not know what the old one was asked for: asks again. */
  virtual void daemon_returned() = 0;
  [[nodiscard]] virtual std::vector<InstanceId> instances() const = 0;
  /** Answers all that is open with the reason and ends every session. */
  virtual void shut_down(const std::string& reason) = 0;

 protected:
  [[nodiscard]] virtual Result<void> do_add(Client& client) = 0;
  virtual void do_remove(Client& client) = 0;
  virtual void do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) = 0;

  [[nodiscard]] ServerContext& context() { return context_; }
  [[nodiscard]] std::uint64_t sessions() const { return accounts_.size(); }
  /** Of a client that was added. */
  [[nodiscard]] const Access& access_of(const Client& client) const { return *accounts_.at(client.id()).access(); }

  // All that goes to clients goes through these, which count it.

  /** The server's answer to the client's request `id`; a list of tools loses those that the client may not call. */
  void pass_answer(Client& client, std::string_view id, const jsonrpc::Envelope& message, std::string_view line);
  void notify(Client& client, Parts message);
  void ask(Client& client, Parts message);
  /** Answers a request of the client's with an error, which is counted. */
  void fail(Client& client, std::string_view id, int code, const std::string& message);
  void answer(Client& client, std::string_view id, std::string_view result);
  /** A response to the request `id`, as it is. `outcome` as AuditEntry has it. */
  void respond(Client& client, std::string_view id, Parts message, std::string_view outcome);
  void count_error();
  void set_identity(std::string protocol_version, std::string server_info);

 private:
  void touch();
  void changed();
  /** Whether a request may go on; else it has been answered. */
  [[nodiscard]] bool admit(Client& client, Account& account, const jsonrpc::Envelope& message);
  /** Answers a tools/call that a rule refuses. */
  void refuse(Client& client, Account& account, const jsonrpc::Envelope& call, const std::string& why);
  void count_sent(const Client& client, Parts message);
  /** Counts and tells of a request that has ended; whether it was tools/list. */
  bool settle(Account& account, std::string_view id, std::string_view outcome, bool answered);
  void audit(std::optional<AuditEntry> entry);
  [[nodiscard]] Account* account_of(const Client& client);

  ServerContext& context_;
  link::ServerSet config_;
  std::unordered_map<ClientId, Account> accounts_;
  /** Of all sessions, those that have ended too. */
  link::Traffic traffic_;
  std::uint64_t last_activity_usec_ = 0;
  std::string protocol_version_;
  std::string server_info_;
  bool changed_ = false;
};

/** By the configuration's mode. */
[[nodiscard]] std::unique_ptr<Server> make_server(ServerContext& context, link::ServerSet config);

}  // namespace hal::hub
