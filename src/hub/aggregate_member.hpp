#pragma once

#include "hub/aggregate_hello.hpp"
#include "hub/client.hpp"
#include "hub/server.hpp"

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace hal::hub {

class AggregateSession;

/**
 * One server as a session of the aggregated endpoint uses it: to that server a client like any other, with the
 * client's own initialize. Joins when first needed, and again after it was ended. Owned by the session.
 */
class AggregateMember final : public Client {
 public:
  enum class State { away, greeting, up };
  using Clock = std::chrono::steady_clock;

  AggregateMember(AggregateSession& session, std::string name);
  ~AggregateMember() override;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] State state() const { return state_; }
  /** Good while it is up. */
  [[nodiscard]] const MemberHello& hello() const { return hello_; }
  [[nodiscard]] const Server* server() const { return server_; }

  /** Joins the server unless that has been done; AggregateSession::on_member_up() or _failed() follows. */
  void begin();
  /** A valid message for the server. Kept until it is up. */
  void send(std::string line);
  /** The same for one that was made inside of the server: it goes out from the loop. */
  void send_later(std::string line);
  /** What the server sent that is ours to answer, from the loop. */
  void work();
  /** From the loop or the hub, never from inside the server. */
  void leave();
  /** The server is being destroyed. */
  void detach();
  void client_drained();
  /** The lines that wait for it to be up; they wait no more. */
  [[nodiscard]] std::deque<std::string> take_held();

  /** By when it must have answered initialize. */
  std::optional<Clock::time_point> deadline;
  /** It was not there when the client listed, or has left since: the client is told when it is up. */
  bool missed = false;
  std::optional<Clock::time_point> retry_at;
  std::chrono::milliseconds retry_after{0};

  [[nodiscard]] ClientId id() const override { return id_; }
  [[nodiscard]] const std::string& session() const override { return session_id_; }
  void deliver(Parts message) override;
  void respond(std::string_view id, Parts message) override;
  void notify(Parts message) override;
  [[nodiscard]] std::size_t backlog() const override;
  void hold(bool held) override;
  void end(const std::string& reason) override;

 private:
  void to_server(std::string_view line);
  void on_hello(const jsonrpc::Envelope& message);

  AggregateSession& session_;
  std::string name_;
  State state_ = State::away;
  ClientId id_;
  std::string session_id_;
  Server* server_ = nullptr;
  MemberHello hello_;
  std::string initialize_id_;
  /** Answers to requests of our own. */
  std::deque<std::string> inbox_;
  std::deque<std::string> outbox_;
  std::deque<std::string> held_;
  std::size_t held_bytes_ = 0;
  bool holds_client_ = false;
  std::optional<std::string> end_reason_;
};

}  // namespace hal::hub
