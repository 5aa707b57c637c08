#pragma once

#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "http/exchange.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

struct MHD_Connection;
struct MHD_Daemon;

namespace hal::http {

/**
 * HTTP/1.1 on one listening socket, by libmicrohttpd without threads: the library's epoll descriptor is a source of
 * our loop. Exceptions of the handler end the loop, they never pass the library.
 */
class WebServer {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    /** All headers are there and the body is not. An answer refuses the request; its body is not read. */
    virtual std::optional<Answer> on_head(Exchange& exchange) = 0;
    /** More of a body whose length was not told. False: it is too much; refusal says how it is answered. */
    virtual bool on_body(Exchange& exchange, std::size_t bytes, Answer& refusal) = 0;
    /** The whole request is there, to be answered now or later. */
    virtual void on_request(Exchange& exchange) = 0;
    /** Answered or broken off; the last call for every exchange on_head() was called with. */
    virtual void on_over(Exchange& exchange) = 0;
  };

  /** Throws if the library cannot be started. Looks for late connections every `late_check`. */
  WebServer(event::Loop& loop, UniqueFd listening, Handler& handler, unsigned connections,
            std::chrono::milliseconds late_check);
  /** Breaks off what is open. */
  ~WebServer();
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  /** The port it listens on; 0 for what is no TCP socket. */
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  friend class Exchange;
  using Clock = std::chrono::steady_clock;

  /** What the library lets us keep with a connection. */
  struct Connection {
    int fd;
    /** Since when it owes us a request. */
    Clock::time_point since;
    /** A request is being answered. */
    bool busy = false;
  };

  // What the library calls; nothing may be thrown through it.
  static int on_access(void* cls, MHD_Connection* connection, const char* url, const char* method, const char* version,
                       const char* upload_data, std::size_t* upload_size, void** context);
  static void on_completed(void* cls, MHD_Connection* connection, void** context);
  static void on_connection(void* cls, MHD_Connection* connection, void** context, bool started);
  static ssize_t on_read(void* cls, std::uint64_t position, char* buffer, std::size_t size);

  bool access(MHD_Connection* connection, const char* url, const char* method, const char* upload_data,
              std::size_t* upload_size, void** context);
  bool begin(MHD_Connection* connection, const char* url, const char* method, void** context);
  bool take_body(Exchange& exchange, const char* data, std::size_t size);
  bool queue(Exchange& exchange);
  void run();
  void close_late();

  event::Loop& loop_;
  Handler& handler_;
  std::uint16_t port_ = 0;
  std::set<Exchange*> exchanges_;
  std::set<Connection*> connections_;
  MHD_Daemon* daemon_ = nullptr;
  std::optional<event::Io> source_;
  event::Defer again_;
  event::Timer timeout_;
  std::optional<Clock::time_point> timeout_at_;
  std::chrono::milliseconds late_check_;
  event::Timer late_;
};

}  // namespace hal::http
