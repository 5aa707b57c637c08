#pragma once

#include "base/archive.hpp"
#include "event/sources.hpp"
#include "hub/aggregate_server.hpp"
#include "hub/caller.hpp"
#include "hub/hub_limits.hpp"
#include "hub/modern_server.hpp"
#include "hub/relay_session.hpp"
#include "hub/server.hpp"
#include "io/listener.hpp"
#include "link/messages.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace hal::hub {

/**
 * Workers, servers and the sessions between them. Owns all of them; told by the daemon what exists, by the workers
 * what they want.
 */
class Hub final : private RelaySession::Listener, private AggregateServer::Directory {
 public:
  /** Messages for the daemon; lost ones (it is away) are made good by daemon_returned(). */
  using ToDaemon = std::function<void(link::ToDaemon)>;

  Hub(event::Loop& loop, ToDaemon to_daemon, limits::Deadlines deadlines = {});
  ~Hub() override;

  // What the daemon says, see link/messages.hpp.
  void add_worker(link::WorkerAdd message);
  void remove_worker(const WorkerId& id);
  void set_server(const link::ServerSet& message);
  void remove_server(const std::string& name);
  void attach(link::InstanceAttach message);
  void gone(const link::InstanceGone& message);
  void unavailable(const link::ServerUnavailable& message);
  void call(const link::Call& message);
  void trace(link::Trace message);
  /** Nobody answers any more for those who read traffic. */
  void end_traces(const std::string& reason);

  /** What there is, for a daemon that has just connected. */
  [[nodiscard]] link::GatewayHello hello() const;
  /** A new daemon has connected and knows nothing of what the old one was asked. */
  void daemon_returned();

  /** Answers all that is open and ends all sessions; on_idle follows when none is left. */
  void shut_down(const std::string& reason, std::function<void()> on_idle);

  /**
   * Before save(): ends the sessions that cannot go over to another gateway, while all others go on and who is new
   * waits; on_ready follows when they have ended.
   */
  void prepare_to_save(const std::string& reason, std::function<void()> on_ready);
  /** What there is, for another gateway. Nothing may happen here after it, but for shut_down() if it was in vain. */
  void save(Saver& archive);
  /** Into a fresh hub, which is of no use where the archive is broken. */
  void load(Loader& archive);

  /** Makes a session for the id it shall have. */
  using MakeSession = std::function<std::unique_ptr<Session>(ClientId id)>;
  /**
   * Opens a session that does not come over a worker's socket; it lives until close(). Answers with its server, which
   * the session must name from then on; names::all_servers is one too. Errc::denied: no such server for this worker,
   * Errc::limit: one too many.
   */
  [[nodiscard]] Result<Server*> open(const WorkerId& worker, const std::string& server, const MakeSession& make);
  /** The same for a client of revision 2026-07-28, which begins without a handshake. */
  [[nodiscard]] Result<Server*> open_modern(const WorkerId& worker, const std::string& server, const MakeSession& make);
  /** Destroys the session, which has ended or is not wanted any more. From the loop, never from inside a server. */
  void close(Session& session);
  /** The worker did something in a session of open(). */
  void note_activity(const WorkerId& worker);
  /** Names of the servers there are that this worker may use. */
  [[nodiscard]] std::vector<std::string> servers_of(const WorkerId& worker) const override;

  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }

 private:
  struct Worker {
    std::set<std::string> servers;
    /** Shared with its sessions: what the daemon says later holds for them too. */
    std::shared_ptr<Access> access = std::make_shared<Access>();
    std::unique_ptr<io::Listener> listener;
    std::size_t sessions = 0;
    std::uint64_t last_activity_usec = 0;
    bool changed = false;
  };

  Result<Server*> on_session_opening(RelaySession& session, const std::string& server) override;
  Result<Server*> on_session_modern(RelaySession& session) override;
  void on_session_activity(RelaySession& session) override;
  void on_session_over(RelaySession& session) override { close(session); }

  void accept(const WorkerId& id, UniqueFd connection);
  /** Which of the two sides of a server a client speaks to. */
  enum class Side { legacy, modern };
  [[nodiscard]] Result<Server*> open(const WorkerId& worker, const std::string& server, const MakeSession& make,
                                     Side side);
  [[nodiscard]] Result<Server*> join(Client& client, const WorkerId& worker, const std::string& server, Side side);
  [[nodiscard]] ModernServer& modern_of(Server& legacy);
  /** The modern side of a server, if anybody has used it. */
  [[nodiscard]] ModernServer* find_modern(const std::string& server) const;
  [[nodiscard]] ClientId new_client() override { return {next_client_++}; }
  [[nodiscard]] Result<Server*> join(Client& client, const WorkerId& worker, const std::string& server) override;
  /** Whether another gateway could go on with it. */
  [[nodiscard]] bool can_be_kept(const Session& session) const;
  void save_message(Saver& archive, link::ToGateway message) const;
  void load_worker(Loader& archive);
  void load_session(Loader& archive);
  void tell_if_idle();
  void end_sessions(const std::function<bool(const Session&)>& which, const std::string& reason);
  void drop_server(const std::string& name, const std::string& reason);
  void finish_call(ClientId caller, std::uint64_t call, Result<std::string> result);
  void worker_changed(Worker& worker);
  void schedule_report();
  void report();

  event::Loop& loop_;
  ToDaemon to_daemon_;
  AuditLog audit_;
  ServerContext context_;
  /** The counters are those of the servers themselves. */
  ServerContext uncounted_;
  std::map<WorkerId, Worker> workers_;
  /** By server. */
  std::map<std::string, Traces> traces_;
  std::map<std::string, std::unique_ptr<Server>> servers_;
  std::map<std::string, std::unique_ptr<ModernServer>> modern_;
  std::map<ClientId, std::unique_ptr<Session>> sessions_;
  std::map<ClientId, std::unique_ptr<Caller>> callers_;
  std::uint64_t next_client_ = 1;
  std::set<std::string> changed_servers_;
  std::chrono::steady_clock::time_point last_report_{};
  bool stopping_ = false;
  /** What cannot be kept is ending. */
  bool saving_ = false;
  std::function<void()> on_idle_;
  event::Timer report_;
  event::Defer idle_;
  /** The last one: it leaves the others as it ends. */
  AggregateServer all_;
};

}  // namespace hal::hub
