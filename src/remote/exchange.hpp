#pragma once

#include "base/alive.hpp"
#include "event/sources.hpp"
#include "remote/call.hpp"
#include "remote/session.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hal::remote {

/** A request on its way to the server: the client's, or one of ours. */
struct Request {
  /** Raw JSON, and as a key. */
  std::string id;
  std::string key;
  std::string method;
  std::string line;
  /** Of one that needs no session: the revision it names, and its params.name or params.uri. */
  std::string revision;
  std::string name;
  /** Of one of these that calls a tool: headers for its arguments. */
  std::vector<std::string> parameters;
  /** The client knows nothing of it. */
  bool own = false;
  /** It has been refused, for want of a session or of headers, and is sent once more. */
  bool again = false;

  [[nodiscard]] bool stateless() const { return !revision.empty(); }
};

/**
 * One request until it is answered: its POST, and, where the event stream of the answer breaks and the server has
 * numbered its events, the GETs that take it up again. Nothing is ever posted twice.
 */
class Exchange {
 public:
  /** Each of these may destroy the exchange. */
  class Listener {
   public:
    virtual ~Listener() = default;
    /** A message from the server, of any kind, on the way of this exchange. */
    virtual void on_server_message(std::string_view message) = 0;
    /** The header of a good answer has come. */
    virtual void on_exchange_begun(Exchange& exchange, const curl::Response& response) = 0;
    /** It ends without an answer. */
    virtual void on_exchange_failed(Exchange& exchange, const Error& error) = 0;
    /** The server does not know the session any more and has not looked at the request, which comes back. */
    virtual void on_session_refused(Exchange& exchange, std::string line) = 0;
    /** The server wants other headers with this call of a tool, which comes back, and has not run it; its words. */
    virtual void on_headers_refused(Exchange& exchange, std::string line, std::string answer) = 0;
  };

  Exchange(event::Loop& loop, const Web& web, const Session& session, Request request, Listener& listener);

  [[nodiscard]] const Request& request() const { return request_; }
  /** Bytes of the request that the server may not have taken yet. */
  [[nodiscard]] std::size_t sending() const { return begun_ ? 0 : bytes_; }
  /** The server has been told that nobody waits: it is given a moment. */
  void cancelled();

 private:
  void post();
  void on_head(const curl::Response& response);
  void on_end(Result<Answer> result);
  void on_refused(Answer answer);
  /** The JSON-RPC error that the server has answered with, as an answer to this request; empty if it has not. */
  [[nodiscard]] std::string own_words(std::string_view body) const;
  void on_body(const Answer& answer);
  /** The stream of the answer has ended before the answer. */
  void take_up(const Error& reason);
  void get();
  void on_get_end(const Result<Answer>& result);
  /** Hands on a message; false if that was the end of this. */
  bool hand_on(std::string_view message);
  void fail(const Error& error);

  event::Loop& loop_;
  Web web_;
  const Session& session_;
  Request request_;
  Listener& listener_;
  std::size_t bytes_ = 0;
  bool begun_ = false;
  bool cancelled_ = false;
  /** GETs since the last event. */
  int attempts_ = 0;
  std::string last_id_;
  std::optional<std::chrono::milliseconds> retry_;
  std::unique_ptr<Call> call_;
  event::Timer timer_;
  Alive alive_;
};

/** The answer to `request` that `error` is. */
[[nodiscard]] std::string error_answer(const Request& request, const Error& error);

}  // namespace hal::remote
