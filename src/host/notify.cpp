#include "host/notify.hpp"

#include <systemd/sd-daemon.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include <fmt/format.h>

namespace hal::host {

namespace {

void send(const std::string& state) {
  (void)sd_notify(0, state.c_str());  // a manager that does not listen is not our failure
}

/** A status line with a newline in it would forge further assignments. */
std::string one_line(std::string_view status) {
  std::string line(status);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

}  // namespace

void notify_ready(std::string_view status) {
  send(fmt::format("READY=1\nSTATUS={}", one_line(status)));
}

void notify_status(std::string_view status) {
  send(fmt::format("STATUS={}", one_line(status)));
}

void notify_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto microseconds =
      static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000;
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", microseconds));
}

void notify_stopping() {
  send("STOPPING=1");
}

bool systemd_booted() {
  return sd_booted() > 0;
}

}  // namespace hal::host
