#pragma once

#include "curl/multi.hpp"
#include "event/sources.hpp"

#include <curl/curl.h>

#include <cstdint>
#include <map>

/** Private to this folder: what libcurl's callbacks work on. */
namespace hal::curl {

/** Told by Multi that a transfer has ended; runs outside of libcurl and calls nobody back. */
class Transfer {
 public:
  virtual void on_transfer_end(CURLcode code) = 0;

 protected:
  ~Transfer() = default;
};

struct Multi::State {
  explicit State(event::Loop& event_loop);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  /** `easy` must have CURLOPT_PRIVATE set to its Transfer. */
  void add(CURL* easy);
  void remove(CURL* easy) noexcept;

  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void* unused) noexcept;
  static int on_timer(CURLM* multi, long timeout_ms, void* self) noexcept;
  /** Closes a connection's socket, its event source first: a source may not outlive its descriptor. */
  static int on_close_socket(void* self, curl_socket_t fd) noexcept;

  void watch(curl_socket_t fd, int what);
  void set_timeout(long timeout_ms);
  void on_ready(curl_socket_t fd, std::uint32_t events);
  /** `fd` may be CURL_SOCKET_TIMEOUT. */
  void act(curl_socket_t fd, int mask);
  void read_messages();

  event::Loop& loop;
  CURLM* handle = nullptr;
  std::map<curl_socket_t, event::Io> sockets;
  event::Timer timer;
  /** A timeout of 0 ms: a timer would fire at once as well, but only by way of the kernel. */
  event::Defer timeout_now;
  event::Defer messages;
};

}  // namespace hal::curl
