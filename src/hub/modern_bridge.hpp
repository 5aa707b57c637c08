#pragma once

#include "base/result.hpp"
#include "event/sources.hpp"
#include "hub/client.hpp"
#include "hub/handshake.hpp"
#include "hub/in_flight.hpp"
#include "hub/server.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::hub {

class ModernServer;

/**
 * A modern client, with one set of capabilities, as a client of a legacy server: holds the handshake, says requests and
 * results in the other's words, turns the server's questions into results that require input, and its notifications
 * into streams. Works with any Server. Owned by the modern one.
 *
 * A call whose server asks something has been answered ("input_required") but goes on at the server; the retry with the
 * client's answers takes it over. `requestState` is a random name for it, good for one retry of this client.
 */
class ModernBridge final : public Client {
 public:
  ModernBridge(ModernServer& server, Server& legacy, ServerContext& context, Client& client, ClientId id,
               std::string session, std::string capabilities);
  ~ModernBridge() override;
  ModernBridge(const ModernBridge&) = delete;
  ModernBridge& operator=(const ModernBridge&) = delete;

  /** The legacy server has added it. Says hello in the name of the client that sent this request. */
  void open(const jsonrpc::Envelope& request);
  [[nodiscard]] const std::string& capabilities() const { return capabilities_; }
  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] bool idle() const { return calls_.empty() && listens_.empty() && waiting_.empty(); }

  // From the client.

  /** A valid request, which is none of resume()'s. */
  void request(const jsonrpc::Envelope& message, std::string_view line);
  /** The request with this id is given up, if it is one of this bridge's. */
  void cancel(std::string_view id);
  [[nodiscard]] bool waits_for(std::string_view state) const;
  /** The retry of a call that waits for input. */
  void resume(const jsonrpc::Envelope& message);

  // From the legacy server.

  [[nodiscard]] ClientId id() const override { return id_; }
  [[nodiscard]] const std::string& session() const override { return session_; }
  void deliver(Parts message) override;
  void respond(std::string_view id, Parts message) override;
  void notify(Parts message) override;
  [[nodiscard]] std::size_t backlog() const override { return client_.backlog(); }
  void hold(bool held) override;
  void end(const std::string& reason) override;

 private:
  /** A request open at the legacy server. */
  struct Call {
    /** As the client spells them; the id is empty while it has been answered that input is required. */
    std::string id;
    std::string token;
    std::string method;
    /** A hash of what the retry must say again. */
    std::size_t subject = 0;
    std::optional<int> log_level;
    /** For its one retry; empty while nothing is asked. */
    std::string state;
    Clock::time_point state_until{};
    /** Keys of inputRequests to the server's question: its id, and the request as the client is shown it. */
    std::map<std::string, std::pair<std::string, std::string>> questions;
    /** The server's answer, if it came before the retry. */
    std::string early_answer;
  };
  /** A stream of notifications. */
  struct Listen {
    std::string id;
    bool tools = false;
    bool prompts = false;
    bool resources = false;
    std::set<std::string> uris;
    /** Subscriptions whose answer is awaited before the stream begins. */
    std::size_t pending = 0;
    bool begun = false;
  };
  /** Requests of our own, by number. */
  struct Upkeep {
    /** The URI that was subscribed to, and the stream that wanted it; empty for what nobody waits for. */
    std::string uri;
    std::string listen;
  };
  using Calls = std::map<std::uint64_t, Call>;

  // modern_bridge.cpp
  void say(std::string line);
  void flush();
  void on_hello(const jsonrpc::Envelope& message);
  void forward(const jsonrpc::Envelope& message, std::string_view line);
  void want_log_level(int level);
  void on_answer(const jsonrpc::Envelope& message, std::string_view line);
  void finish(const Call& call, const jsonrpc::Envelope& message);
  void fail_all(int code, const std::string& reason);
  void fail(std::string_view id, int code, const std::string& message);
  [[nodiscard]] std::uint64_t ask_upkeep(std::string_view method, const std::string& params, Upkeep upkeep);

  // modern_bridge_input.cpp
  void on_question(const jsonrpc::Envelope& message);
  void on_question_withdrawn(const jsonrpc::Envelope& message);
  [[nodiscard]] static std::size_t subject_of(const jsonrpc::Envelope& message);
  [[nodiscard]] Call* carrier();
  void require_input();
  void require_input(Call& call);
  void expire();
  void arm_expiry();
  void refuse_questions(const Call& call, const std::string& reason);
  [[nodiscard]] bool require_visits(const Call& call, std::string_view error);

  // modern_bridge_listen.cpp
  void listen(const jsonrpc::Envelope& message);
  void begin(Listen& listen);
  void on_subscribed(const Upkeep& upkeep, bool success);
  void forget_listen(const std::string& key);
  void unsubscribe(const std::string& uri);
  void on_list_changed(const jsonrpc::Envelope& message);
  void on_resource_updated(const jsonrpc::Envelope& message);
  void tell(const Listen& listen, const jsonrpc::Envelope& message);

  ModernServer& server_;
  Server& legacy_;
  event::Loop& loop_;
  Client& client_;
  ClientId id_;
  /** The client is not read from, and would never be again if nobody said so. */
  bool held_ = false;
  std::string session_;
  std::string capabilities_;
  bool joined_ = false;
  bool over_ = false;
  /** What we said: it tells what the client may be asked. */
  std::optional<ClientHello> hello_;
  std::optional<ServerHello> server_hello_;
  bool subscribes_ = false;
  /** Requests that wait for the handshake. */
  std::deque<std::string> waiting_;
  std::size_t waiting_bytes_ = 0;
  /** Lines for the legacy server, said from the loop: never from inside a call of its own. */
  std::deque<std::string> outbox_;
  std::uint64_t next_number_ = 1;
  std::uint64_t next_question_ = 1;
  Calls calls_;
  std::map<std::uint64_t, Upkeep> upkeep_;
  /** By jsonrpc::id_key of their requests. */
  std::map<std::string, Listen> listens_;
  /** Streams that want each subscribed URI. */
  std::map<std::string, std::size_t> subscribed_;
  std::optional<int> log_level_sent_;
  event::Defer outbox_flush_;
  event::Defer ended_;
  event::Timer expiry_;
  /** Servers ask several things one after the other: the client is told of all of them at once. */
  event::Timer asking_;
};

}  // namespace hal::hub
