#include "curl/multi.hpp"

#include "curl/multi_state.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace hal::curl {

namespace {

void check(CURLMcode code, const char* what) {
  if (code != CURLM_OK) {
    throw std::runtime_error(fmt::format("{}: {}", what, curl_multi_strerror(code)));
  }
}

/** Runs what a callback of libcurl does so that nothing escapes into C; -1 tells libcurl to give up. */
template <class Call>
int guarded(event::Loop& loop, const char* what, Call call) noexcept {
  try {
    call();
    return 0;
  } catch (const std::exception& error) {
    loop.fail(what, error.what());
  } catch (...) {
    loop.fail(what, "unknown exception");
  }
  return -1;
}

CURLM* make_multi() {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    throw std::runtime_error("curl_global_init failed");
  }
  CURLM* handle = curl_multi_init();
  if (handle == nullptr) {
    curl_global_cleanup();
    throw std::runtime_error("curl_multi_init failed");
  }
  return handle;
}

}  // namespace

Multi::State::State(event::Loop& event_loop)
    : loop(event_loop),
      handle(make_multi()),
      timer(event_loop, "curl:timer", [this] { act(CURL_SOCKET_TIMEOUT, 0); }),
      timeout_now(event_loop, "curl:now", [this] { act(CURL_SOCKET_TIMEOUT, 0); }),
      messages(event_loop, "curl:messages", [this] { read_messages(); }) {
  check(curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, &State::on_socket), "CURLMOPT_SOCKETFUNCTION");
  check(curl_multi_setopt(handle, CURLMOPT_SOCKETDATA, this), "CURLMOPT_SOCKETDATA");
  check(curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, &State::on_timer), "CURLMOPT_TIMERFUNCTION");
  check(curl_multi_setopt(handle, CURLMOPT_TIMERDATA, this), "CURLMOPT_TIMERDATA");
}

Multi::State::~State() {
  (void)curl_multi_cleanup(handle);  // closes pooled connections by on_close_socket
  curl_global_cleanup();
}

void Multi::State::add(CURL* easy) {
  check(curl_multi_add_handle(handle, easy), "curl_multi_add_handle");
}

void Multi::State::remove(CURL* easy) noexcept {
  (void)curl_multi_remove_handle(handle, easy);
}

int Multi::State::on_socket(CURL* /*easy*/, curl_socket_t fd, int what, void* self, void* /*unused*/) noexcept {
  auto& state = *static_cast<State*>(self);
  return guarded(state.loop, "curl:socket", [&state, fd, what] { state.watch(fd, what); });
}

int Multi::State::on_timer(CURLM* /*multi*/, long timeout_ms, void* self) noexcept {
  auto& state = *static_cast<State*>(self);
  return guarded(state.loop, "curl:timer", [&state, timeout_ms] { state.set_timeout(timeout_ms); });
}

int Multi::State::on_close_socket(void* self, curl_socket_t fd) noexcept {
  static_cast<State*>(self)->sockets.erase(fd);
  return ::close(fd);
}

void Multi::State::watch(curl_socket_t fd, int what) {
  if (what == CURL_POLL_REMOVE) {
    sockets.erase(fd);
    return;
  }
  std::uint32_t events = 0;
  if ((what & CURL_POLL_IN) != 0) {
    events |= EPOLLIN;
  }
  if ((what & CURL_POLL_OUT) != 0) {
    events |= EPOLLOUT;
  }
  if (const auto found = sockets.find(fd); found != sockets.end()) {
    found->second.set_events(events);
    return;
  }
  sockets.emplace(fd,
                  event::Io(loop, fd, events, "curl:socket", [this, fd](std::uint32_t ready) { on_ready(fd, ready); }));
}

void Multi::State::set_timeout(long timeout_ms) {
  timer.disarm();
  timeout_now.cancel();
  if (timeout_ms == 0) {
    timeout_now.schedule();
  } else if (timeout_ms > 0) {
    timer.arm(std::chrono::milliseconds(timeout_ms));
  }
}

void Multi::State::on_ready(curl_socket_t fd, std::uint32_t events) {
  int mask = 0;
  // An error or hang-up counts as readable: reading tells libcurl what it was, after what still came before it.
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    mask |= CURL_CSELECT_IN;
  }
  if ((events & EPOLLOUT) != 0) {
    mask |= CURL_CSELECT_OUT;
  }
  act(fd, mask);
}

void Multi::State::act(curl_socket_t fd, int mask) {
  int running = 0;
  check(curl_multi_socket_action(handle, fd, mask, &running), "curl_multi_socket_action");
  messages.schedule();
}

void Multi::State::read_messages() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(handle, &left)) {
    if (message->msg != CURLMSG_DONE) {
      continue;
    }
    void* transfer = nullptr;
    const CURLcode code = message->data.result;
    (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    static_cast<Transfer*>(transfer)->on_transfer_end(code);  // `message` is gone after this
  }
}

Multi::Multi(event::Loop& loop) : state_(std::make_unique<State>(loop)) {}

Multi::~Multi() = default;

}  // namespace hal::curl
