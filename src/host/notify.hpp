#pragma once

#include <string_view>

/** What the service manager is told (sd_notify(3)); nothing where none listens. */
namespace hal::host {

/** The program serves; also ends a reload. */
void notify_ready(std::string_view status);
/** One line for people, shown by `systemctl status`. */
void notify_status(std::string_view status);
void notify_reloading();
void notify_stopping();

/** Whether PID 1 is systemd. */
[[nodiscard]] bool systemd_booted();

}  // namespace hal::host
