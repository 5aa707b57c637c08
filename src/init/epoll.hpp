#pragma once

#include "base/unique_fd.hpp"

#include <chrono>
#include <cstdint>
#include <functional>

namespace hal::init {

/**
 * The loop of the static programs: one epoll, one event a turn, so that a callback may destroy any watch, its own too.
 * Lives in main, longer than all watches.
 */
class Epoll {
 public:
  Epoll();

  /** Waits for one event and handles it. */
  void turn();

 private:
  friend class Watch;
  UniqueFd fd_;
};

/** Calls back when a descriptor is ready. Does not own the descriptor, which must stay open as long as the watch. */
class Watch {
 public:
  using Callback = std::function<void(std::uint32_t events)>;

  /** `events` as of epoll_ctl(2): EPOLLIN, EPOLLOUT or 0. Throws std::system_error. */
  Watch(Epoll& epoll, int fd, std::uint32_t events, Callback callback);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  void set_events(std::uint32_t events);

 private:
  friend class Epoll;
  Epoll& epoll_;
  int fd_;
  std::uint32_t events_;
  Callback callback_;
};

/** Calls back once, some time after start(). */
class Timer {
 public:
  Timer(Epoll& epoll, std::function<void()> callback);

  void start(std::chrono::milliseconds delay);
  void stop();

 private:
  void set(std::chrono::milliseconds delay);

  UniqueFd fd_;
  Watch watch_;
};

/** Throws std::system_error for a failed system call at start-up. */
[[noreturn]] void throw_system_error(const char* what);

}  // namespace hal::init
