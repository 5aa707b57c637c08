#pragma once

#include "event/sources.hpp"
#include "hub/client.hpp"
#include "hub/handshake.hpp"
#include "hub/server.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace hal::hub {

/**
 * A legacy client as a client of a server that speaks the modern revision only: answers its handshake, says with each
 * request who and what it is, puts the questions of results that require input to it and repeats the call with the
 * answers, and listens for what it has subscribed to. Owned by ModernOnly.
 */
class LegacyBridge final : public Client {
 public:
  LegacyBridge(Server& server, Server& modern, event::Loop& loop, Client& client, ClientId id);
  /** Leaves the modern server, which has added it. */
  ~LegacyBridge() override;
  LegacyBridge(const LegacyBridge&) = delete;
  LegacyBridge& operator=(const LegacyBridge&) = delete;

  void from_client(const jsonrpc::Envelope& message, std::string_view line);
  [[nodiscard]] Client& client() { return client_; }

  [[nodiscard]] ClientId id() const override { return id_; }
  [[nodiscard]] const std::string& session() const override { return client_.session(); }
  void deliver(Parts message) override;
  void notify(Parts message) override;
  [[nodiscard]] std::size_t backlog() const override { return client_.backlog(); }
  void hold(bool held) override;
  void end(const std::string& reason) override;

 private:
  /** A request of the client's that is open at the server, or waits for the client's answers. */
  struct Call {
    std::string id;
    std::string token;
    std::string method;
    /** To be sent again with answers; kept for methods that may require input. */
    std::string params;
    /** Of the result that required input. */
    std::string state;
    /** Keys of questions that wait for the client's answers, and the answers that have come. */
    std::size_t unanswered = 0;
    std::map<std::string, std::string> answers;
    std::size_t rounds = 0;
  };
  /** A question put to the client. */
  struct Question {
    std::uint64_t call = 0;
    std::string key;
  };
  /** An open subscriptions/listen: for a URI, or for lists where that is empty. */
  struct Listen {
    std::string uri;
    /** The client's request to subscribe, until it is answered. */
    std::string id;
  };

  void request(const jsonrpc::Envelope& message);
  void initialize(const jsonrpc::Envelope& message);
  void set_level(const jsonrpc::Envelope& message);
  void subscribe(const jsonrpc::Envelope& message);
  void unsubscribe(const jsonrpc::Envelope& message);
  void cancel(const jsonrpc::Envelope& message);
  void on_client_answer(const jsonrpc::Envelope& message);
  void send_call(const Call& call, std::uint64_t number, const std::string& params);
  void listen(std::string uri, std::string id);
  void listen_to_lists();
  void stop_listening(std::uint64_t number);
  void listen_again();
  /** Params with all that a modern request says of itself; `token`: what stands for the client's. */
  [[nodiscard]] std::string with_hello(std::string_view params, std::optional<std::uint64_t> token) const;
  void say(std::string line);
  void flush();

  // legacy_bridge_answers.cpp
  void on_answer(const jsonrpc::Envelope& message, std::string_view line);
  void on_discovered(const jsonrpc::Envelope& message);
  void finish(const Call& call, const jsonrpc::Envelope& message);
  void ask_client(std::uint64_t number, const jsonrpc::Envelope& message);
  void repeat(std::uint64_t number);
  void on_stream(const jsonrpc::Envelope& message);
  void on_listen_over(std::uint64_t number);

  Server& server_;
  Server& modern_;
  event::Loop& loop_;
  Client& client_;
  ClientId id_;
  /** The client is not read from, and would never be again if nobody said so. */
  bool held_ = false;
  std::optional<ClientHello> hello_;
  /** The id of the client's initialize while the server is being asked what it is. */
  std::string initialize_id_;
  std::string capabilities_;
  bool ready_ = false;
  std::optional<std::string> log_level_;
  std::uint64_t next_number_ = 1;
  std::map<std::uint64_t, Call> calls_;
  std::map<std::uint64_t, Question> questions_;
  std::map<std::uint64_t, Listen> listens_;
  /** Streams that broke: URIs, or "" for lists. */
  std::set<std::string> lost_;
  std::deque<std::string> outbox_;
  event::Defer outbox_flush_;
  event::Timer again_;
};

/** The clients of a legacy server that turned out to speak the modern revision only. Owned by that server. */
class ModernOnly final {
 public:
  ModernOnly(Server& server, Server& modern, event::Loop& loop) : server_(server), modern_(modern), loop_(loop) {}

  void from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line);
  void remove(ClientId client) { bridges_.erase(client); }
  void client_drained(Client& client);
  void end_all(const std::string& reason);

 private:
  Server& server_;
  Server& modern_;
  event::Loop& loop_;
  std::map<ClientId, std::unique_ptr<LegacyBridge>> bridges_;
};

}  // namespace hal::hub
