#pragma once

#include "event/sources.hpp"
#include "http/rules.hpp"
#include "io/byte_buffer.hpp"
#include "io/pieces.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct MHD_Connection;
struct MHD_Response;

namespace hal::http {

class Exchange;
class WebServer;

using Headers = std::vector<std::pair<const char*, std::string>>;

/** A whole answer. */
struct Answer {
  unsigned status = 200;
  Headers headers;
  io::Pieces body;
};

/** Who waits for an exchange to end, and feeds it if it is a stream. Set by Exchange::set_owner. */
class ExchangeOwner {
 public:
  virtual ~ExchangeOwner() = default;
  /** A stream takes bytes: up to buffer.size() of them; 0 for none now. */
  virtual std::size_t on_exchange_read(Exchange& exchange, std::span<char> buffer) = 0;
  /** After a read of 0: whether there will never be more. */
  virtual bool on_exchange_at_end(Exchange& exchange) = 0;
  /** Answered in full, or broken off; the exchange is gone after this. */
  virtual void on_exchange_over(Exchange& exchange) = 0;
  /** After watch_client(): the client has closed its end, so whatever it asked for is not wanted any more. */
  virtual void on_exchange_left(Exchange& exchange) { (void)exchange; }
};

/**
 * One HTTP request and its answer. Owned by the web server; valid from Handler::on_head() to on_over(). Answering may
 * happen at any time after Handler::on_request() was called, from the loop or from inside it.
 */
class Exchange {
 public:
  Exchange(WebServer& server, MHD_Connection* connection, std::string method, std::string path);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  [[nodiscard]] const WebServer& server() const { return server_; }
  [[nodiscard]] const std::string& method() const { return method_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /** Its views are good as long as the exchange. */
  [[nodiscard]] const Head& head() const { return head_; }
  [[nodiscard]] io::ByteBuffer& body() { return body_; }

  /** For the handler: the worker's place in its table, and the memory it has set aside for the body. */
  void* context = nullptr;
  std::size_t reserved_bytes = 0;
  /** For the owner: which of its streams this is. */
  std::uint64_t stream = 0;

  void set_owner(ExchangeOwner* owner) { owner_ = owner; }
  /** Once. */
  void answer(Answer answer);
  /** Instead of answer(): 200 and an event stream, which the owner feeds. */
  void begin_stream(const Headers& headers);
  /** The owner has something to read, or is at its end. */
  void wake();
  /** Has the owner told at once when the client goes away, and not only when something is to be sent. */
  void watch_client();
  /** Ends a stream now, without its owner. */
  void abandon();

 private:
  friend class WebServer;
  enum class State { reading, waiting, answered };

  void suspend();
  void resume();
  std::ptrdiff_t read(std::span<char> buffer);

  WebServer& server_;
  MHD_Connection* connection_;
  std::string method_;
  std::string path_;
  Head head_;
  io::ByteBuffer body_;
  ExchangeOwner* owner_ = nullptr;
  std::optional<event::Io> client_;
  State state_ = State::reading;
  /** What to queue when the library asks next. */
  MHD_Response* response_ = nullptr;
  unsigned status_ = 0;
  bool suspended_ = false;
  /** The body is larger than it may be and is not kept; answered by this in the end. */
  std::optional<Answer> refusal_;
  std::size_t discarded_bytes_ = 0;
};

}  // namespace hal::http
