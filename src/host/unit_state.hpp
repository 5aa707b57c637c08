#pragma once

#include "base/error.hpp"
#include "host/system_bus.hpp"
#include "server/launcher.hpp"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/** What systemd says of units, read from its messages. */
namespace hal::host {

/** Of org.freedesktop.systemd1.Service. */
struct ExitProperties {
  /** "success", "exit-code", "signal", "core-dump", "oom-kill", "timeout", … */
  std::string result;
  /** CLD_EXITED, CLD_KILLED, …; 0 if no process has ended. */
  std::int32_t code = 0;
  /** Exit code or signal. */
  std::int32_t status = 0;
  pid_t main_pid = 0;
  /** 0: unlimited. */
  std::uint64_t memory_max = 0;
};
[[nodiscard]] ExitProperties read_exit_properties(sd_bus_message* all_properties);

/** A string among the a{sv} the message stands before; empty if it is not there. */
[[nodiscard]] std::string read_text_property(sd_bus_message* message, std::string_view name);

struct ListedUnit {
  std::string name;
  std::string description;
};
/** The answer of ListUnitsByPatterns. */
[[nodiscard]] std::vector<ListedUnit> read_unit_list(sd_bus_message* reply);

/** How a unit ended, for people. `memory_max`: its limit, 0 for none. */
[[nodiscard]] server::InstanceExit instance_exit(const ExitProperties& properties, std::uint64_t memory_max,
                                                 std::string_view server);
/** Why its start failed. */
[[nodiscard]] Error start_error(const ExitProperties& properties, std::string_view unit);

}  // namespace hal::host
