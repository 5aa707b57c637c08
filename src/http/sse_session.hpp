#pragma once

#include "base/strong_id.hpp"
#include "event/sources.hpp"
#include "http/event_stream.hpp"
#include "http/exchange.hpp"
#include "hub/session.hpp"
#include "jsonrpc/envelope.hpp"

#include <deque>
#include <string>

namespace hal::http {

/**
 * One session of the transport of revision 2024-11-05: one event stream down, whose first event tells where messages
 * are to be posted. It lives as long as the stream, and nothing of it can be taken up again. Owned by the hub.
 */
class SseSession final : public hub::Session, private ExchangeOwner {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /** Once, from the loop. */
    virtual void on_session_over(SseSession& session) = 0;
  };

  /** `session` is its name on the wire. */
  SseSession(event::Loop& loop, hub::ClientId id, std::string session, WorkerId worker, Listener& listener);
  ~SseSession() override;

  /** The hub has added us to the server; the exchange becomes the stream. */
  void start(hub::Server& server, Exchange& exchange);
  /** One message, or a batch. */
  void post(Exchange& exchange, const jsonrpc::Envelope& message);
  /** Every Times::keep_alive. */
  void tick();
  [[nodiscard]] bool ended() const { return ended_; }

  [[nodiscard]] hub::ClientId id() const override { return id_; }
  [[nodiscard]] const std::string& session() const override { return session_; }
  [[nodiscard]] const WorkerId& worker() const override { return worker_; }
  [[nodiscard]] hub::Server* server() const override { return server_; }
  void deliver(hub::Parts message) override;
  void notify(hub::Parts message) override;
  [[nodiscard]] std::size_t backlog() const override { return events_.unread(); }
  void hold(bool held) override;
  void end(const std::string& reason) override;
  void detach(const std::string& reason) override;

 private:
  std::size_t on_exchange_read(Exchange& exchange, std::span<char> buffer) override;
  bool on_exchange_at_end(Exchange& exchange) override;
  void on_exchange_over(Exchange& exchange) override;
  void on_exchange_left(Exchange& exchange) override;

  void take(Exchange& exchange, const jsonrpc::Envelope& message);
  [[nodiscard]] bool take_batch(std::string_view body);
  void update_reading();
  void on_drained();

  hub::ClientId id_;
  std::string session_;
  WorkerId worker_;
  Listener& listener_;
  hub::Server* server_ = nullptr;
  Exchange* stream_ = nullptr;
  EventStream events_{0, false};
  bool held_ = false;
  /** It has more to read than it should: nothing is taken from it until it has. */
  bool slow_ = false;
  bool ended_ = false;
  /** Posts that are read but not taken, because the session is held or slow. */
  std::deque<Exchange*> waiting_;
  event::Defer over_;
  /** For the last bytes of an ending session. */
  event::Timer deadline_;
  event::Defer drained_;
  event::Defer go_on_;
};

}  // namespace hal::http
