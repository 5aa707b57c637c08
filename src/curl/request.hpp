#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "curl/multi.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::curl {

/** What to ask, of whom, and for how long. */
struct RequestSpec {
  std::string method = "GET";
  /** http or https. The path is sent as it stands; parts of it that come from elsewhere go through escape(). */
  std::string url;
  /** Where to connect instead of the URL's host; empty: there. */
  std::string unix_socket;
  /**
   * A stream socket, not yet connected, to use for the connection; for one made inside another network namespace.
   * Unset: libcurl makes it.
   */
  UniqueFd socket;
  /** "Name: value"; "Name:" leaves out one of libcurl's own. */
  std::vector<std::string> headers;
  std::string body;
  /** What errors call the server; empty: its URL or socket. For URLs that hold secrets. */
  std::string label;
  /** A proxy's URL; empty: none, whatever the environment says. */
  std::string proxy;
  /** A file of the certificates to trust; empty: the system's. */
  std::string ca_file;
  /** HTTP/2 where a server offers it on TLS. */
  bool http2 = false;

  /** Of the answer's body, unless it is streamed. A longer one is Errc::limit. */
  std::size_t max_body_bytes = std::size_t{16} << 20;
  /** Of the answer's header lines together. */
  std::size_t max_header_bytes = std::size_t{32} << 10;

  /** Each of these ends the request with Errc::timed_out; 0 is no limit. */
  struct Deadlines {
    std::chrono::milliseconds connect{5000};
    /** From the start to the end of the answer's header. */
    std::chrono::milliseconds answer{0};
    /** Between two pieces of the body; does not run while the receiver takes nothing. */
    std::chrono::milliseconds idle{0};
    /** From the start to the end of the body. */
    std::chrono::milliseconds total{0};
  } deadlines;

  /**
   * Whether the request may be sent again by itself where a kept connection ends before the answer, as libcurl does.
   * Not for what must not run twice: then that is Errc::disconnected, and connections are not kept for long.
   */
  bool repeatable = true;
  /** Whether a connection of an earlier request may be used and this one's kept for the next. */
  bool reuse_connection = true;
};

struct Response {
  int status = 0;
  /** Names in lower case. */
  std::vector<std::pair<std::string, std::string>> headers;
  /** Empty if it was streamed. */
  std::string body;
  /** What was sent, for who sends it once more. Empty once a streamed answer has begun. */
  std::string request_body;

  /** The value of the first header of this name (lower case); null if there is none. */
  [[nodiscard]] const std::string* header(std::string_view name) const;
};

/**
 * One HTTP request. Its destruction cancels it; then nothing is called any more. Callbacks come from the loop, never
 * from inside a call of this class, and may destroy the request.
 *
 * An answer of any status is a success here. Errors: unavailable (cannot connect), timed_out, disconnected (cut
 * short), limit (too large), protocol (no HTTP).
 */
class Request {
 public:
  struct Callbacks {
    /** Exactly once, last. */
    Done<Response> on_done;
    /** Optional: the header has come. */
    std::function<void(const Response&)> on_headers;
    /**
     * Optional: takes the body of a 2xx answer piece by piece and says how many bytes it took. What it left is offered
     * again after resume(); until then the sender is slowed down. Bodies of other answers are collected.
     */
    std::function<std::size_t(std::string_view)> on_data;
  };

  /** Throws only when libcurl itself fails: no memory, or an option it does not know. */
  Request(Multi& multi, RequestSpec spec, Callbacks callbacks);
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  /** Offers again what on_data left. */
  void resume();

 private:
  class State;
  std::shared_ptr<State> state_;
};

/** `text` percent-encoded for one segment of a path or one value of a query. */
[[nodiscard]] std::string escape(std::string_view text);

}  // namespace hal::curl
