#include "bus/pump.hpp"

#include "base/error.hpp"
#include "bus/compat.hpp"

#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include <exception>
#include <string>
#include <utility>

namespace hal::bus {

namespace {

void check(int result, const char* what) {
  if (result < 0) {
    throw_errno(what, -result);
  }
}

}  // namespace

Pump::Pump(event::Loop& loop, sdbus::IConnection& connection, OnLost on_lost)
    : loop_(loop), connection_(connection), on_lost_(std::move(on_lost)) {
  const auto data = connection_.getEventLoopPollData();
  // 2.x also has an eventFd, to wake a loop of another thread; prepare() runs in every turn of ours.
  check(sd_event_add_io(loop.raw(), &io_, data.fd, EPOLLIN, on_io, this), "sd_event_add_io");
  const int timed = sd_event_add_time(loop.raw(), &time_, CLOCK_MONOTONIC, 0, 1'000, on_time, this);
  if (timed < 0) {
    stop();
    throw_errno("sd_event_add_time", -timed);
  }
  (void)sd_event_source_set_description(io_, "bus");
  (void)sd_event_source_set_description(time_, "bus deadline");
  (void)sd_event_source_set_prepare(io_, on_prepare);
}

Pump::~Pump() {
  stop();
}

void Pump::stop() noexcept {
  io_ = sd_event_source_disable_unref(io_);
  time_ = sd_event_source_disable_unref(time_);
}

void Pump::prepare() noexcept {
  std::uint64_t deadline = 0;
  try {
    const auto data = connection_.getEventLoopPollData();
    // The poll(2) bits and the epoll(7) bits are the same numbers.
    (void)sd_event_source_set_io_events(io_, static_cast<std::uint32_t>(data.events));
    deadline = compat::poll_deadline(data);
  } catch (const std::exception&) {
    broken_ = true;
  }
  if (deadline == UINT64_MAX) {
    (void)sd_event_source_set_enabled(time_, SD_EVENT_OFF);
  } else {
    (void)sd_event_source_set_time(time_, deadline);
    (void)sd_event_source_set_enabled(time_, SD_EVENT_ONESHOT);
  }
}

void Pump::process() noexcept {
  if (broken_) {
    lose("the connection to the bus is closed");
    return;
  }
  try {
    (void)compat::process_one(connection_);
  } catch (const sdbus::Error& error) {
    lose(error.what());
  } catch (const std::exception& error) {
    // Nothing of ours lets an exception out; the library's state is unknown now.
    loop_.fail("bus", error.what());
  } catch (...) {
    loop_.fail("bus", "unknown exception");
  }
}

void Pump::lose(std::string_view reason) noexcept {
  stop();
  try {
    const auto on_lost = std::exchange(on_lost_, nullptr);
    if (on_lost) {
      on_lost(reason);
    }
  } catch (const std::exception& error) {
    loop_.fail("bus lost", error.what());
  }
}

int Pump::on_prepare(sd_event_source*, void* userdata) {
  static_cast<Pump*>(userdata)->prepare();
  return 0;
}

int Pump::on_io(sd_event_source*, int, std::uint32_t, void* userdata) {
  static_cast<Pump*>(userdata)->process();
  return 0;
}

int Pump::on_time(sd_event_source*, std::uint64_t, void* userdata) {
  static_cast<Pump*>(userdata)->process();
  return 0;
}

}  // namespace hal::bus
