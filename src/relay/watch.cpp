#include "relay/watch.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace hal::relay {

namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

}  // namespace

Watch::Watch() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) {
    fail("epoll_create1");
  }
}

void Watch::set(Slot slot, int fd, std::uint32_t events, Silence silence) {
  auto& state = state_[slot];
  const int wanted = fd >= 0 && (events != 0 || silence == Silence::but_errors) ? fd : -1;
  if (state.fd == wanted && state.events == events) {
    return;
  }
  if (state.fd >= 0 && state.fd != wanted && !state.is_file) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, state.fd, nullptr);
  }
  const bool known = state.fd == wanted;
  const bool was_file = known && state.is_file;
  state = {wanted, events, was_file, 0};
  if (wanted < 0 || was_file) {
    return;
  }
  epoll_event event{};
  event.events = events;
  event.data.u64 = slot;
  if (::epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, wanted, &event) < 0) {
    if (errno != EPERM) {
      fail("epoll_ctl");
    }
    state.is_file = true;
  }
}

bool Watch::wait(int timeout_ms) {
  bool any_file = false;
  for (auto& state : state_) {
    state.ready = state.is_file && state.fd >= 0 ? state.events : 0;
    any_file = any_file || state.ready != 0;
  }
  std::array<epoll_event, slots> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), slots, any_file ? 0 : timeout_ms);
  if (count < 0 && errno != EINTR) {
    fail("epoll_wait");
  }
  for (int i = 0; i < std::max(count, 0); ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    state_[event.data.u64].ready = event.events;
  }
  return any_file || count > 0;
}

}  // namespace hal::relay
