#pragma once

#include "base/strong_id.hpp"
#include "event/sources.hpp"
#include "http/backend.hpp"
#include "http/event_stream.hpp"
#include "http/exchange.hpp"
#include "http/http_limits.hpp"
#include "http/modern_rules.hpp"
#include "hub/client.hpp"
#include "jsonrpc/envelope.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace hal::http {

/**
 * The requests of one worker to one server in revision 2026-07-28, which has no sessions: each POST stands for itself,
 * is answered by JSON or by an event stream, and is cancelled when its client closes the connection. Behind it they are
 * requests of one client of the hub's, with ids and progress tokens of ours, since different programs of the worker may
 * use the same. Owned by the endpoint.
 */
class Stateless final : private ExchangeOwner {
 public:
  using Clock = std::chrono::steady_clock;

  class Listener {
   public:
    virtual ~Listener() = default;
    /** Once, from the loop: it has ended, and nothing of it is being sent any more. */
    virtual void on_stateless_over(Stateless& stateless) = 0;
  };

  Stateless(event::Loop& loop, const Times& times, std::string id, WorkerId worker, std::string server,
            Listener& listener);
  ~Stateless() override;

  /** Set before anything else is called; outlives all but the destructor. */
  void set_backend(Backend* backend) { backend_ = backend; }
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] const WorkerId& worker() const { return worker_; }
  [[nodiscard]] const std::string& server() const { return server_; }
  [[nodiscard]] bool ended() const { return ended_; }

  /** One message of this revision, as scanned from the body. */
  void post(Exchange& exchange, const jsonrpc::Envelope& message);
  /** Every Times::keep_alive. */
  void tick();

  // Messages for the client, from the backend; as hub::Client has them.

  void deliver(hub::Parts message);
  void notify(hub::Parts message);
  [[nodiscard]] std::size_t backlog() const { return backlog_; }
  void hold(bool held);
  /** Answers all that is open with the reason. */
  void end(const std::string& reason);

 private:
  /** A request, until its answer has been sent. */
  struct Call {
    Exchange* exchange = nullptr;
    Accepted accepted;
    /** As the client spells them. */
    std::string id;
    std::string token;
    bool wants_log = false;
    bool lists_tools = false;
    bool answered = false;
    /** Once it has been decided to answer by a stream. */
    std::unique_ptr<EventStream> events;
    std::size_t json_bytes = 0;
    Clock::time_point since;
  };
  using Calls = std::map<std::uint64_t, Call>;

  std::size_t on_exchange_read(Exchange& exchange, std::span<char> buffer) override;
  bool on_exchange_at_end(Exchange& exchange) override;
  void on_exchange_over(Exchange& exchange) override;
  void on_exchange_left(Exchange& exchange) override;

  // stateless.cpp
  /** What is wrong with it; unset if it may go to the server. */
  [[nodiscard]] std::optional<Answer> check(const Exchange& exchange, const jsonrpc::Envelope& message) const;
  void take(Exchange& exchange, const jsonrpc::Envelope& message);
  void wait(std::deque<Exchange*>& queue, Exchange& exchange);
  void update_reading();
  void cancel(Exchange& exchange);
  void over_if_done();
  void touch() { last_used_ = loop_.now(); }
  // What the server's tools want to be told by headers.
  void ask_tools();
  void on_tools(const jsonrpc::Envelope& answer);
  void tools_known();

  // stateless_answers.cpp
  void respond(const jsonrpc::Envelope& message, std::string_view line);
  void pass(const jsonrpc::Envelope& message, std::string_view line);
  [[nodiscard]] Call* find_call(std::string_view number);
  [[nodiscard]] Call* only_call(bool log);
  void put_answer(Call& call, const jsonrpc::Envelope& message, std::string_view line, std::string_view id);
  void put(Call& call, std::string_view id, std::string_view line);
  void start_events(Call& call);
  void finish(Call& call);
  void recount();

  event::Loop& loop_;
  const Times& times_;
  std::string id_;
  WorkerId worker_;
  std::string server_;
  Listener& listener_;
  Backend* backend_ = nullptr;
  bool ended_ = false;
  bool held_ = false;
  Calls calls_;
  std::uint64_t next_number_ = 1;
  /** Requests that are read but not taken, because the server has too much to read. */
  std::deque<Exchange*> waiting_;
  jsonrpc::ToolHeaders tools_;
  enum class Tools { unknown, asked, known } tools_state_ = Tools::unknown;
  /** Of our own tools/list; 0 while none is open. */
  std::uint64_t tools_number_ = 0;
  /** Its _meta, with what the client can do that made us ask; the next page's cursor; and how many pages there were. */
  std::string tools_meta_;
  std::string tools_cursor_;
  std::size_t tools_pages_ = 0;
  bool tools_refused_ = false;
  /** Calls that wait for it. */
  std::deque<Exchange*> unchecked_;
  std::size_t backlog_ = 0;
  Clock::time_point last_used_;
  event::Defer over_;
  event::Timer deadline_;
  event::Timer tools_deadline_;
  event::Defer tools_next_;
  event::Defer drained_;
  event::Defer go_on_;
};

}  // namespace hal::http
