#include "event/loop.hpp"

#include "base/error.hpp"
#include "base/log.hpp"

#include <systemd/sd-event.h>

#include <cstdint>
#include <cstdlib>

namespace hal::event {

Loop::Loop() {
  if (const int r = sd_event_new(&event_); r < 0) {
    throw_errno("sd_event_new", -r);
  }
  // The first timer opens the clock's descriptor, which stays. Now, because later there may be none left.
  sd_event_source* timer = nullptr;
  if (const int r = sd_event_add_time_relative(event_, &timer, CLOCK_MONOTONIC, 0, 0, nullptr, nullptr); r < 0) {
    sd_event_unref(event_);
    throw_errno("sd_event_add_time", -r);
  }
  sd_event_source_unref(timer);
}

Loop::~Loop() {
  sd_event_unref(event_);
}

int Loop::run() {
  if (sd_event_get_state(event_) == SD_EVENT_FINISHED) {
    int code = 0;
    (void)sd_event_get_exit_code(event_, &code);
    return code;
  }
  const int r = sd_event_loop(event_);
  if (r < 0) {
    throw_errno("sd_event_loop", -r);
  }
  return r;
}

bool Loop::run_once(std::chrono::milliseconds timeout) {
  if (sd_event_get_state(event_) == SD_EVENT_FINISHED) {
    return false;
  }
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(timeout).count();
  if (const int r = sd_event_run(event_, static_cast<std::uint64_t>(microseconds)); r < 0) {
    throw_errno("sd_event_run", -r);
  }
  int code = 0;
  return sd_event_get_exit_code(event_, &code) < 0;  // no code: exit() was not called
}

void Loop::exit(int code) noexcept {
  (void)sd_event_exit(event_, code);
}

void Loop::fail(std::string_view source, std::string_view what) noexcept {
  try {
    log::critical({}, "event source {}: {}", source, what);
  } catch (...) {  // out of memory while logging: ending is all that is left
  }
  exit(EXIT_FAILURE);
}

bool Loop::start_watchdog() {
  const int r = sd_event_set_watchdog(event_, 1);
  if (r < 0) {
    throw_errno("sd_event_set_watchdog", -r);
  }
  return r > 0;
}

std::chrono::steady_clock::time_point Loop::now() const {
  std::uint64_t microseconds = 0;
  (void)sd_event_now(event_, CLOCK_MONOTONIC, &microseconds);
  return std::chrono::steady_clock::time_point(std::chrono::microseconds(microseconds));
}

}  // namespace hal::event
