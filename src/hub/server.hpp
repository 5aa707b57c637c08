#pragma once

#include "base/archive.hpp"
#include "base/result.hpp"
#include "event/loop.hpp"
#include "hub/account.hpp"
#include "hub/audit_log.hpp"
#include "hub/client.hpp"
#include "hub/hub_limits.hpp"
#include "hub/traces.hpp"
#include "jsonrpc/envelope.hpp"
#include "link/messages.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hal::hub {

class ModernOnly;
class Server;

/** What a server needs of the hub. */
struct ServerContext {
  event::Loop& loop;
  std::function<void(link::ToDaemon)> to_daemon;
  /** A counter has changed since the last report. */
  std::function<void(const std::string& server)> on_changed;
  AuditLog& audit;
  /** The side of a server that speaks revision 2026-07-28. */
  std::function<Server&(Server& legacy)> modern_of;
  /** Of both sides of a server; outlives them. */
  std::function<Traces&(const std::string& server)> traces_of;
  limits::Deadlines deadlines;
};

/** One MCP server as its clients see it; the two modes are its two implementations. Owned by the hub. */
class Server {
 public:
  Server(ServerContext& context, link::ServerSet config);
  virtual ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] const std::string& name() const { return config_.name; }
  [[nodiscard]] std::size_t sessions() const { return accounts_.size(); }
  [[nodiscard]] const link::ServerSet& config() const { return config_; }
  virtual void set_config(link::ServerSet config);
  /** The counters; the next change is announced again. */
  [[nodiscard]] link::ServerReport report();

  /**
   * A new session, before its first message. Errc::limit: one too many. Without `access` it is the way of another
   * Server to this one: rules, counters and audit are there, and not here too.
   */
  [[nodiscard]] Result<void> add(Client& client, std::shared_ptr<const Access> access);
  /** The client is gone: what it waits for is cancelled at the server. */
  void remove(Client& client);
  /** A valid message of an added client. Calls it may not make are answered here and go no further. */
  void from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line);

  /** Whether the revision agreed with the client has batches. */
  [[nodiscard]] virtual bool takes_batches(const Client& client) const = 0;

  /** The client has read all that was delivered. */
  virtual void client_drained(Client& client);

  /** Whether there is one program behind it, which can be asked what it speaks. */
  [[nodiscard]] virtual bool has_program() const { return true; }
  /** Whether its program refuses `initialize`, and clients get by its modern side. */
  [[nodiscard]] bool is_modern_only() const { return modern_only_ != nullptr; }
  /** The modern side is going to be destroyed. */
  void leave_modern();

  virtual void attach(link::InstanceAttach instance) = 0;
  virtual void gone(const link::InstanceGone& news) = 0;
  virtual void unavailable(const link::ServerUnavailable& news) = 0;
  /** A new daemon does not know what the old one was asked for: asks again. */
  virtual void daemon_returned() = 0;
  [[nodiscard]] virtual std::vector<InstanceId> instances() const = 0;
  /** Answers all that is open with the reason and ends every session. */
  virtual void shut_down(const std::string& reason) = 0;

  /** For the same server in another gateway: what it knows of its clients and its process. */
  void save(Saver& archive);
  /** A client that was saved with its id; its access is null where there is none. */
  using FindClient = std::function<std::pair<Client*, std::shared_ptr<const Access>>(ClientId)>;
  /** Into a fresh one with the same configuration. */
  void load(Loader& archive, const FindClient& find);

 protected:
  // What save() keeps is the derived one's; each client that was saved is loaded in the same order.
  virtual void save_client(Saver&, const Client&) {}
  virtual void load_client(Loader&, Client&) {}
  virtual void save_rest(Saver&) {}
  virtual void load_rest(Loader&) {}

  [[nodiscard]] virtual Result<void> do_add(Client& client) = 0;
  virtual void do_remove(Client& client) = 0;
  virtual void do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) = 0;

  /** The result of a tools/call that is refused. */
  [[nodiscard]] virtual std::string refusal_result(const std::string& text) const;

  [[nodiscard]] ServerContext& context() { return context_; }
  /** Of a client that was added. */
  [[nodiscard]] const std::shared_ptr<const Access>& access_of(const Client& client) const {
    return accounts_.at(client.id()).access();
  }

  // All that goes to clients goes through these, which count it.

  /** The server's answer to the client's request `id`; a list of tools loses those that the client may not call. */
  void pass_answer(Client& client, std::string_view id, const jsonrpc::Envelope& message, std::string_view line);
  void notify(Client& client, Parts message);
  void ask(Client& client, Parts message);
  /** Answers a request of the client's with an error, which is counted. */
  void fail(Client& client, std::string_view id, int code, const std::string& message);
  void answer(Client& client, std::string_view id, std::string_view result);
  /** A response to the request `id`, as it is. `outcome` as AuditEntry has it. */
  void respond(Client& client, std::string_view id, Parts message, jsonrpc::Kind kind, std::string_view outcome);
  void count_error();
  void set_identity(std::string protocol_version, std::string server_info);
  /** The program has refused `initialize`, which this line is, as one of the modern revision does. */
  void turn_modern(Client& client, const std::string& initialize);
  /** A request of the client's that is ended without an answer. */
  void give_up(Client& client, std::string_view id, std::string_view outcome);

 private:
  friend class LegacyBridge;

  void touch();
  void changed();
  /** Whether a request may go on; else it has been answered. */
  [[nodiscard]] bool admit(Client& client, Account& account, const jsonrpc::Envelope& message);
  /** Answers a tools/call that a rule refuses. */
  void refuse(Client& client, Account& account, const jsonrpc::Envelope& call, const std::string& why);
  /** `answer`: what the message answers, unless it is the server's own. */
  void count_sent(const Client& client, Parts message, const TracedAnswer* answer = nullptr);
  struct Settled {
    bool lists_tools = false;
    std::chrono::nanoseconds time{0};
  };
  /** Counts and tells of a request that has ended. Nothing if it had already. */
  std::optional<Settled> settle(Account& account, std::string_view id, std::string_view outcome, bool answered);
  void audit(std::optional<AuditEntry> entry);
  [[nodiscard]] Account* account_of(const Client& client);

  ServerContext& context_;
  link::ServerSet config_;
  std::unordered_map<ClientId, Account> accounts_;
  /** Set once turn_modern() was called. */
  std::unique_ptr<ModernOnly> modern_only_;
  /** Of all sessions, those that have ended too. */
  link::Traffic traffic_;
  std::uint64_t last_activity_usec_ = 0;
  std::string protocol_version_;
  std::string server_info_;
  /** Who reads what passes between its clients and it. */
  Traces& traces_;
  bool changed_ = false;
};

/** By the configuration's mode. */
[[nodiscard]] std::unique_ptr<Server> make_server(ServerContext& context, link::ServerSet config);

}  // namespace hal::hub
