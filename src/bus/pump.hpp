#pragma once

#include "event/loop.hpp"

#include <cstdint>
#include <functional>
#include <string_view>

#include <sdbus-c++/IConnection.h>

struct sd_event_source;

namespace hal::bus {

/**
 * Drives an sdbus::IConnection on the loop: waits for its descriptor and its deadline and processes one message for
 * each. The same for sdbus-c++ 1.x and 2.x. The connection must outlive it.
 */
class Pump {
 public:
  using OnLost = std::function<void(std::string_view reason)>;
  /** `on_lost`: once, from the loop; the pump does nothing after it and may be destroyed inside. */
  Pump(event::Loop& loop, sdbus::IConnection& connection, OnLost on_lost);
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

 private:
  /** Before the loop waits: what is to be waited for. */
  void prepare() noexcept;
  void process() noexcept;
  void lose(std::string_view reason) noexcept;
  void stop() noexcept;

  static int on_prepare(sd_event_source* source, void* userdata);
  static int on_io(sd_event_source* source, int fd, std::uint32_t events, void* userdata);
  static int on_time(sd_event_source* source, std::uint64_t usec, void* userdata);

  event::Loop& loop_;
  sdbus::IConnection& connection_;
  OnLost on_lost_;
  sd_event_source* io_ = nullptr;
  sd_event_source* time_ = nullptr;
  /** Found by prepare(), where nothing may be destroyed; told by the time source. */
  bool broken_ = false;
};

}  // namespace hal::bus
