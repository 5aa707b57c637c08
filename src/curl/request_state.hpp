#pragma once

#include "base/result.hpp"
#include "curl/multi_state.hpp"
#include "curl/request.hpp"
#include "event/sources.hpp"

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

/** Private to this folder: one transfer. */
namespace hal::curl {

struct EasyDeleter {
  void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};

/** Outlives its Request while one of its callbacks runs. libcurl's callbacks only collect; deliver() calls back. */
class Request::State final : public Transfer {
 public:
  State(Multi::State& multi, RequestSpec spec, Callbacks callbacks);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void start(std::weak_ptr<State> self);
  /** The Request is gone. */
  void abandon() noexcept;
  void resume();
  void on_transfer_end(CURLcode code) override;

 private:
  using Clock = std::chrono::steady_clock;

  static std::size_t on_header_line(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept;
  static std::size_t on_send(char* buffer, std::size_t size, std::size_t count, void* self) noexcept;
  static curl_socket_t on_open_socket(void* self, curlsocktype purpose, curl_sockaddr* address) noexcept;

  void set_up();
  void set_method();
  void set_deadlines();
  void set_network();
  /** Gives up the memory of a body that has been sent. */
  void forget_body();
  /** False: refused, and error_ says why. */
  bool take_header(std::string_view line);
  void begin_answer(std::string_view status_line);
  bool take_body(std::string_view data, bool& pause);
  void detach() noexcept;
  void fail(Error error);
  [[nodiscard]] Error transfer_error(CURLcode code);
  void deliver();
  /** False if the Request was destroyed by its receiver. */
  bool deliver_data();
  void complete();
  void restart_idle_deadline();
  [[nodiscard]] bool streams() const { return callbacks_.on_data && response_.status / 100 == 2; }
  [[nodiscard]] const std::string& where() const;

  Multi::State& multi_;
  RequestSpec spec_;
  Callbacks callbacks_;
  std::unique_ptr<CURL, EasyDeleter> easy_;
  std::unique_ptr<curl_slist, ListDeleter> header_list_;
  char error_text_[CURL_ERROR_SIZE] = {};
  bool in_multi_ = false;
  bool gone_ = false;

  /** Of the body, if libcurl asks for it piece by piece. */
  std::size_t sent_ = 0;
  Response response_;
  std::size_t header_bytes_ = 0;
  bool header_complete_ = false;
  bool header_announced_ = false;
  /** Of a streamed body: what has not been taken yet, from buffer_done_ on. */
  std::string buffer_;
  std::size_t buffer_done_ = 0;
  /** on_data left something and resume() has not been called since. */
  bool waiting_ = false;
  /** libcurl was told to read no more. */
  bool paused_ = false;

  bool ended_ = false;
  std::optional<Error> error_;
  std::exception_ptr thrown_;
  event::Timer deadline_;
  event::Defer deliver_;
};

}  // namespace hal::curl
