#pragma once

#include "base/alive.hpp"
#include "event/sources.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/tool_headers.hpp"
#include "remote/call.hpp"
#include "remote/exchange.hpp"
#include "remote/memory.hpp"
#include "remote/server_stream.hpp"
#include "remote/session.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace hal::remote {

/**
 * Our client's messages to the server, and back. Requests run beside each other; what follows a notification or a
 * response waits until the server has taken it. A session that the server has lost is begun anew with what the client
 * has told it before; requests that were open then get an error, for they may have run.
 */
class Client final : private Exchange::Listener, private ServerStream::Listener {
 public:
  /** `on_end`: nothing is left to do; the exit code. */
  Client(event::Loop& loop, const Web& web, std::function<void(int)> on_end);

  void on_line(std::string_view line);
  void on_overlong(std::size_t bytes);
  /** Gives the session back to the server. */
  void end();

 private:
  enum class Phase {
    /** No session, and none is needed: the client has not begun, or speaks without. */
    none,
    /** An initialize is on its way, the client's or ours. */
    greeting,
    ready,
    /** Lost, and ours was not answered well. */
    lost,
  };
  /** Waits for its turn. */
  struct Outgoing {
    /** Of a request. */
    std::optional<Request> request;
    /** Of all others. */
    std::string line;
    bool is_initialized = false;

    [[nodiscard]] std::size_t bytes() const { return request ? request->line.size() : line.size(); }
  };

  /** A tools/call without the headers that its tool asks for, and what the server has answered. */
  struct RefusedCall {
    Request request;
    std::string answer;
  };

  // From the client.
  void on_message(std::string_view line);
  void on_request(const jsonrpc::Envelope& message, std::string_view line);
  void on_notification(const jsonrpc::Envelope& message, std::string_view line);
  /** False if there was nothing to tell the server. */
  bool on_cancelled(const jsonrpc::Envelope& message);
  [[nodiscard]] bool is_open(const std::string& key) const;
  void queue(Outgoing outgoing);
  void pump();
  void send(Request request);
  void post(Outgoing outgoing);
  void on_posted(bool was_initialized, const Result<Answer>& result);
  void brake();
  void answer_error(const Request& request, const Error& error);

  // From the server.
  void on_server_message(std::string_view message) override;
  void on_server_response(const jsonrpc::Envelope& message, std::string_view line);
  void on_exchange_begun(Exchange& exchange, const curl::Response& response) override;
  void on_exchange_failed(Exchange& exchange, const Error& error) override;
  void on_session_refused(Exchange& exchange, std::string line) override;
  void on_headers_refused(Exchange& exchange, std::string line, std::string answer) override;
  void on_endpoint(curl::Url messages) override;
  void on_stream_lost(const Error& reason) override;

  // The session: client_session.cpp
  void on_initialize(Request request, std::string_view params);
  void greet(Request request);
  void send_greeting();
  void on_greeted(const jsonrpc::Envelope& message, std::string_view line, bool own);
  void greeting_failed(const Error& error);
  void session_lost(const Error& reason);
  void begin_again();
  void tell_again(std::string_view result);
  void fail_all(const Error& error);
  void fail_queued(const Error& error);
  void give_back_session();

  // Headers that tools ask for: client_tools.cpp
  void list_tools(std::string_view cursor);
  void on_listed(std::string_view result);

  [[nodiscard]] std::string next_own_id();
  [[nodiscard]] const std::string& host() const { return web_.settings.url.host; }

  event::Loop& loop_;
  Web web_;
  std::function<void(int)> on_end_;
  Session session_;
  Memory memory_;
  Phase phase_ = Phase::none;
  /** Of the initialize on its way. */
  std::string greeting_key_;
  /** The old transport: it waits for the endpoint. */
  std::optional<Request> waiting_greeting_;
  std::map<std::string, std::unique_ptr<Exchange>> exchanges_;
  std::deque<Outgoing> queue_;
  jsonrpc::ToolHeaders tools_;
  /** Calls whose tools the server is asked for; by key. */
  std::map<std::string, RefusedCall> refused_;
  /** Of our tools/list on its way. */
  std::string listing_key_;
  int listed_pages_ = 0;
  /** The notification or response that the server is taking. */
  std::unique_ptr<Call> posting_;
  std::unique_ptr<Call> farewell_;
  ServerStream stream_;
  event::Timer again_;
  std::chrono::milliseconds again_delay_;
  /** Begins the ids of our own requests, which no client uses. */
  std::string own_prefix_;
  std::uint64_t last_own_id_ = 0;
  bool ending_ = false;
};

}  // namespace hal::remote
