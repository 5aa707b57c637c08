#include "init/epoll.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace hal::init {

void throw_system_error(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

Epoll::Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!fd_) {
    throw_system_error("epoll_create1");
  }
}

void Epoll::turn() {
  epoll_event event{};
  const int count = ::epoll_wait(fd_.get(), &event, 1, -1);
  if (count < 0 && errno != EINTR) {
    throw_system_error("epoll_wait");
  }
  if (count == 1) {
    const auto* watch = static_cast<const Watch*>(event.data.ptr);
    const Watch::Callback callback = watch->callback_;  // the call may destroy the watch
    callback(event.events);
  }
}

Watch::Watch(Epoll& epoll, int fd, std::uint32_t events, Callback callback)
    : epoll_(epoll), fd_(fd), events_(events), callback_(std::move(callback)) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = this;
  if (::epoll_ctl(epoll_.fd_.get(), EPOLL_CTL_ADD, fd_, &event) < 0) {
    throw_system_error("epoll_ctl");
  }
}

Watch::~Watch() {
  ::epoll_ctl(epoll_.fd_.get(), EPOLL_CTL_DEL, fd_, nullptr);
}

void Watch::set_events(std::uint32_t events) {
  if (events == events_) {
    return;
  }
  events_ = events;
  epoll_event event{};
  event.events = events;
  event.data.ptr = this;
  if (::epoll_ctl(epoll_.fd_.get(), EPOLL_CTL_MOD, fd_, &event) < 0) {
    throw_system_error("epoll_ctl");
  }
}

Timer::Timer(Epoll& epoll, std::function<void()> callback)
    : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      watch_(epoll, fd_.get(), EPOLLIN, [fd = fd_.get(), callback = std::move(callback)](std::uint32_t) {
        std::uint64_t expirations = 0;
        if (::read(fd, &expirations, sizeof expirations) == sizeof expirations) {
          callback();
        }
      }) {}

void Timer::start(std::chrono::milliseconds delay) {
  set(delay > std::chrono::milliseconds::zero() ? delay : std::chrono::milliseconds(1));
}

void Timer::stop() {
  set(std::chrono::milliseconds::zero());
}

void Timer::set(std::chrono::milliseconds delay) {
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(delay.count() / 1000);
  when.it_value.tv_nsec = static_cast<long>(delay.count() % 1000 * 1'000'000);
  if (::timerfd_settime(fd_.get(), 0, &when, nullptr) < 0) {
    throw_system_error("timerfd_settime");
  }
}

}  // namespace hal::init
