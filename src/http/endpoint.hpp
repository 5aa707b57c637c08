#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "http/session.hpp"
#include "http/sse_sessions.hpp"
#include "http/stateless.hpp"
#include "http/web_server.hpp"
#include "hub/hub.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::http {

class OneServer;
class StatelessClient;

/**
 * MCP over HTTP, for the workers of a parent, which share one loopback, and for those with a network of their own: a
 * worker is known by its token. Finds or makes the session of a request; the hub knows which servers a worker may use.
 */
class Endpoint final : private WebServer::Handler, private Session::Listener, private Stateless::Listener {
 public:
  /** The hub outlives it. */
  Endpoint(event::Loop& loop, hub::Hub& hub, Times times = {});
  ~Endpoint() override;

  /**
   * Serves this socket too, in place of the one before in the network of that name; sessions stay. `owner`: the only
   * worker that is served there, for the network is its own; empty: all are.
   */
  Result<void> listen(const std::string& network, UniqueFd listening, const WorkerId& owner = {});
  void close(const std::string& network);
  [[nodiscard]] std::vector<std::string> networks() const;
  /** The worker and its bearer token, "ID." and a secret; an empty one changes nothing. */
  void set_worker(const WorkerId& id, std::string token);
  void remove_worker(const WorkerId& id);

  [[nodiscard]] std::size_t sessions() const { return sessions_.size() + old_.size(); }

 private:
  struct Worker {
    WorkerId id;
    std::string token;
    std::size_t exchanges = 0;
    std::size_t body_bytes = 0;
  };
  struct Entry {
    std::unique_ptr<Session> session;
    /** The hub's. */
    OneServer* client = nullptr;
  };

  std::optional<Answer> on_head(Exchange& exchange) override;
  bool on_body(Exchange& exchange, std::size_t bytes, Answer& refusal) override;
  void on_request(Exchange& exchange) override;
  void on_over(Exchange& exchange) override;
  void on_session_over(Session& session) override;
  void on_stateless_over(Stateless& stateless) override;

  [[nodiscard]] std::optional<Answer> check_address(const Exchange& exchange) const;
  [[nodiscard]] Worker* worker_of(const Exchange& exchange);
  [[nodiscard]] std::optional<Answer> admit(Exchange& exchange, Worker& worker);
  /** Null: `refusal` says why. */
  [[nodiscard]] Session* find_session(const Exchange& exchange, Answer& refusal);
  /** A path without a server's name is all of them. */
  [[nodiscard]] static std::string hub_name(const std::string& server);
  void on_post(Exchange& exchange);
  void open_old(Exchange& exchange, const std::string& server);
  void initialize(Exchange& exchange, const jsonrpc::Envelope& message);

  // Revision 2026-07-28: endpoint_stateless.cpp
  void post_stateless(Exchange& exchange, const jsonrpc::Envelope& message);
  [[nodiscard]] Result<Stateless*> stateless_of(const WorkerId& worker, const std::string& server);
  void arm_tick();

  event::Loop& loop_;
  hub::Hub& hub_;
  Times times_;
  std::map<WorkerId, std::unique_ptr<Worker>> workers_;
  /** Workers that are gone but for their exchanges. */
  std::map<Worker*, std::unique_ptr<Worker>> removed_;
  std::map<std::string, Entry, std::less<>> sessions_;
  struct StatelessEntry {
    std::unique_ptr<Stateless> front;
    /** The hub's. */
    StatelessClient* client = nullptr;
  };
  std::map<std::pair<WorkerId, std::string>, StatelessEntry> stateless_;
  /** Of the old transport. */
  SseSessions old_;
  event::Timer tick_;
  std::map<std::string, std::unique_ptr<WebServer>> webs_;
  /** Of those whose network is a worker's own. */
  std::map<const WebServer*, WorkerId> owners_;
};

}  // namespace hal::http
