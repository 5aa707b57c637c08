#pragma once

#include "base/result.hpp"
#include "event/sources.hpp"
#include "hub/client.hpp"
#include "hub/server.hpp"

#include <deque>
#include <string>
#include <string_view>

namespace hal::hub {

/**
 * A client of one request, for the daemon itself (Server1.Call): holds its own handshake, asks, and is done. Owned by
 * the hub, which destroys it in the completion.
 */
class Caller final : public Client {
 public:
  /** JSON text of the result. Called once, from the loop. */
  Caller(event::Loop& loop, ClientId id, std::string method, std::string params, Done<std::string> done);
  ~Caller() override;

  /** `server` has added the caller. */
  void start(Server& server);
  [[nodiscard]] Server* server() const { return server_; }
  void detach(const std::string& reason);

  [[nodiscard]] ClientId id() const override { return id_; }
  [[nodiscard]] const std::string& session() const override { return session_; }
  void deliver(Parts message) override;
  void notify(Parts) override {}
  [[nodiscard]] std::size_t backlog() const override { return 0; }
  void hold(bool) override {}
  void end(const std::string& reason) override;

 private:
  enum class Step { initialize, call };

  void work();
  void on_line(std::string_view line);
  void on_answer(const jsonrpc::Envelope& message);
  void send(const std::string& line);
  void finish(Result<std::string> result);

  ClientId id_;
  std::string session_;
  std::string method_;
  std::string params_;
  Done<std::string> done_;
  Server* server_ = nullptr;
  Step step_ = Step::initialize;
  std::deque<std::string> inbox_;
  std::string end_reason_;
  event::Defer work_;
  event::Timer deadline_;
};

}  // namespace hal::hub
