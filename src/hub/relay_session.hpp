#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "hub/open_batches.hpp"
#include "hub/server.hpp"
#include "hub/session.hpp"
#include "io/line_channel.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace hal::hub {

/**
 * One connection on a worker's socket: a first line that names the server, then JSON-RPC to and from it. Owned by the
 * hub, which destroys it in on_session_over().
 */
class RelaySession final : public Session {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /** The server this session may talk to, which knows it from then on; or why not, as the client shall read it. */
    virtual Result<Server*> on_session_opening(RelaySession& session, const std::string& server) = 0;
    /** Its first request is one of revision 2026-07-28: the server that speaks it, which knows the session from then
     * on. */
    virtual Result<Server*> on_session_modern(RelaySession& session) = 0;
    virtual void on_session_activity(RelaySession& session) = 0;
    /** Once, from the loop: the connection is done with. The server has not been told yet. */
    virtual void on_session_over(RelaySession& session) = 0;
  };

  RelaySession(event::Loop& loop, ClientId id, WorkerId worker, UniqueFd socket, Listener& listener);
  ~RelaySession() override;

  [[nodiscard]] bool can_be_kept() const override { return !ending_; }
  void save(Saver& archive) override;
  /** `server`: which knows it, or is told of it; null before the first line. Null where the archive is broken. */
  [[nodiscard]] static std::unique_ptr<RelaySession> load(Loader& archive, event::Loop& loop, ClientId id,
                                                          WorkerId worker, Server* server, Listener& listener);

  [[nodiscard]] ClientId id() const override { return id_; }
  [[nodiscard]] const std::string& session() const override { return session_; }
  [[nodiscard]] const WorkerId& worker() const override { return worker_; }
  /** Null before the first line. */
  [[nodiscard]] Server* server() const override { return server_; }

  void deliver(Parts message) override;
  void respond(std::string_view id, Parts message) override;
  void notify(Parts message) override;
  [[nodiscard]] std::size_t backlog() const override { return channel_.queued_bytes(); }
  void hold(bool held) override;
  void end(const std::string& reason) override;
  void detach(const std::string& reason) override;

 private:
  RelaySession(event::Loop& loop, ClientId id, WorkerId worker, std::string session, UniqueFd socket,
               Listener& listener);

  void on_line(std::string_view line);
  void on_message(const jsonrpc::Envelope& message, std::string_view line);
  void on_batch(std::string_view line);
  void send_complete_batch();
  void open(std::string_view line);
  void refuse(const std::string& reason);
  void on_drained();
  void over();
  void update_reading();
  void fail(std::string_view id, int code, const std::string& message);

  ClientId id_;
  WorkerId worker_;
  std::string session_;
  Listener& listener_;
  Server* server_ = nullptr;
  OpenBatches batches_;
  /** Its first request has come, which tells the revision. */
  bool spoken_ = false;
  bool held_ = false;
  /** It has more to read than it should: nothing is read from it until it has. */
  bool slow_ = false;
  bool ending_ = false;
  event::Defer over_;
  /** For the first line, and for the last bytes of an ending session. */
  event::Timer deadline_;
  io::LineChannel channel_;
};

}  // namespace hal::hub
