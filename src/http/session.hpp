#pragma once

#include "base/strong_id.hpp"
#include "event/sources.hpp"
#include "http/backend.hpp"
#include "http/event_stream.hpp"
#include "http/exchange.hpp"
#include "http/http_limits.hpp"
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
#include <vector>

namespace hal::http {

/**
 * One session of MCP over HTTP (revisions 2025-03-26 to 2025-11-25): many requests of one client, each answered by JSON
 * or by an event stream, and one stream for what belongs to no request. Owned by the endpoint.
 *
 * How a request is answered is decided late: by a stream as soon as something that is not its answer is to be said, or
 * after Times::keep_alive; else by JSON. A client that goes away cancels nothing: it may come back to a stream.
 */
class Session final : private ExchangeOwner {
 public:
  using Clock = std::chrono::steady_clock;

  class Listener {
   public:
    virtual ~Listener() = default;
    /** Once, from the loop: it has ended, and nothing of it is being sent any more. */
    virtual void on_session_over(Session& session) = 0;
  };

  Session(event::Loop& loop, const Times& times, std::string id, WorkerId worker, std::string server,
          Listener& listener);
  ~Session() override;

  /** Set before anything else is called; outlives all but the destructor. */
  void set_backend(Backend* backend) { backend_ = backend; }
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] const WorkerId& worker() const { return worker_; }
  /** The server's name, or empty for all of them. */
  [[nodiscard]] const std::string& server() const { return server_; }
  [[nodiscard]] bool ended() const { return ended_; }

  // Requests, from the endpoint.

  /** One message, as scanned from the body; or a batch, if takes_batches(). */
  void post(Exchange& exchange, const jsonrpc::Envelope& message);
  /** The stream of what belongs to no request, or the continuation of one that broke. */
  void get(Exchange& exchange);
  /** Whether the client may send batches: in the revision 2025-03-26 only. */
  [[nodiscard]] bool takes_batches() const { return revision_ == "2025-03-26"; }
  /** Every Times::keep_alive. Ends the session that nobody uses. */
  void tick();

  // Messages for the client, from the backend; as hub::Client has them.

  void deliver(hub::Parts message);
  void respond(std::string_view id, hub::Parts message);
  void notify(hub::Parts message);
  [[nodiscard]] std::size_t backlog() const { return backlog_; }
  void hold(bool held);
  /** Answers all that is open with the reason. */
  void end(const std::string& reason);

 private:
  /** The answer to one POST, or the standing stream, number 0. */
  struct Stream {
    std::uint64_t number = 0;
    /** Unset: nobody is connected. */
    Exchange* exchange = nullptr;
    Accepted accepted;
    /** Keys of the ids that are not answered yet. */
    std::vector<std::string> open;
    /** Once it has been decided to answer by a stream. */
    std::unique_ptr<EventStream> events;
    /** Bytes of the JSON that is being sent. */
    std::size_t json_bytes = 0;
    /** It answers initialize: tells the session's id. */
    bool initialize = false;
    Clock::time_point since;
  };
  /** A request of the client's that is not answered yet. */
  struct Call {
    std::uint64_t stream = 0;
    bool initialize = false;
    /** Key of its progress token, or empty. */
    std::string token;
  };

  std::size_t on_exchange_read(Exchange& exchange, std::span<char> buffer) override;
  bool on_exchange_at_end(Exchange& exchange) override;
  void on_exchange_over(Exchange& exchange) override;

  // Requests: session.cpp
  void take(Exchange& exchange, const jsonrpc::Envelope& message);
  void take_one(Exchange& exchange, const jsonrpc::Envelope& message);
  void take_batch(Exchange& exchange);
  [[nodiscard]] bool register_call(Stream& stream, const jsonrpc::Envelope& message);
  void give_up_cancelled(const jsonrpc::Envelope& message);
  void update_reading();
  void over_if_done();

  // Streams: session_streams.cpp
  [[nodiscard]] Stream* open_stream(Exchange& exchange);
  [[nodiscard]] bool make_room();
  [[nodiscard]] Stream* find_stream(std::uint64_t number);
  [[nodiscard]] Stream& related_stream();
  [[nodiscard]] bool takes(std::size_t bytes);
  void answer_call(std::string_view id, hub::Parts message);
  void answer_json(Stream& stream, hub::Parts message);
  void end_unanswered(Stream& stream);
  void start_events(Stream& stream);
  void put(Stream& stream, hub::Parts message);
  void attach(Stream& stream, Exchange& exchange);
  void resume_stream(Exchange& exchange, std::string_view event_id);
  void read_initialize(const std::string& answer);
  void drop_unread();
  [[nodiscard]] bool can_stream(const Stream& stream) const;
  void recount();
  void touch();

  event::Loop& loop_;
  const Times& times_;
  std::string id_;
  WorkerId worker_;
  std::string server_;
  Listener& listener_;
  Backend* backend_ = nullptr;
  /** Agreed on by initialize. */
  std::string revision_;
  bool initialized_ = false;
  bool ended_ = false;
  bool held_ = false;
  bool slow_ = false;
  std::map<std::uint64_t, std::unique_ptr<Stream>> streams_;
  std::map<std::string, Call> calls_;
  /** Progress tokens to the ids of their calls. */
  std::map<std::string, std::string> tokens_;
  /** Requests that are read but not taken, because the session is held or slow. */
  std::deque<Exchange*> waiting_;
  std::uint64_t next_stream_ = 1;
  std::size_t backlog_ = 0;
  bool draining_ = false;
  Clock::time_point last_used_;
  event::Defer over_;
  event::Timer deadline_;
  event::Defer drained_;
  event::Defer go_on_;
};

/** An answer with a JSON-RPC error in it. `id` is raw JSON text, empty for none. */
[[nodiscard]] Answer error_answer(unsigned status, int code, std::string_view message, std::string_view id = {});

}  // namespace hal::http
