#include "host/unit_state.hpp"

#include "process/child.hpp"

#include <signal.h>

#include <functional>

#include <fmt/format.h>

namespace hal::host {

namespace {

/** Enters each property of an a{sv}; `take` reads the value of those it wants and says whether it did. */
void each_property(sd_bus_message* message, const std::function<bool(std::string_view name)>& take) {
  if (sd_bus_message_enter_container(message, 'a', "{sv}") < 0) {
    return;
  }
  while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
    const char* name = nullptr;
    if (sd_bus_message_read(message, "s", &name) < 0 || (!take(name) && sd_bus_message_skip(message, "v") < 0) ||
        sd_bus_message_exit_container(message) < 0) {
      return;
    }
  }
  (void)sd_bus_message_exit_container(message);
}

/** The steps of systemd.exec(5), "Process exit codes", that a wrong configuration can fail at. */
std::string_view failed_step(int status) {
  switch (status) {
    case 200:
      return "its working directory cannot be entered";
    case 203:
      return "its program cannot be executed";
    case 209:
      return "its output cannot be set up";
    case 216:
    case 217:
      return "its user or group cannot be taken";
    case 225:
      return "its network cannot be set up";
    case 226:
      return "its view of the file system cannot be set up";
    case 228:
      return "its system call filter cannot be set up";
    default:
      return {};
  }
}

std::string describe(const ExitProperties& properties) {
  if (properties.code == CLD_EXITED) {
    return process::ExitStatus{properties.status, 0}.describe();
  }
  if (properties.code == CLD_KILLED || properties.code == CLD_DUMPED) {
    return process::ExitStatus{128 + properties.status, properties.status}.describe();
  }
  return fmt::format("has ended ({})", properties.result);
}

}  // namespace

ExitProperties read_exit_properties(sd_bus_message* all_properties) {
  ExitProperties result;
  each_property(all_properties, [&](std::string_view name) {
    if (name == "Result") {
      const char* text = nullptr;
      if (sd_bus_message_read(all_properties, "v", "s", &text) >= 0) {
        result.result = text;
      }
      return true;
    }
    if (name == "ExecMainCode" || name == "ExecMainStatus") {
      (void)sd_bus_message_read(all_properties, "v", "i", name == "ExecMainCode" ? &result.code : &result.status);
      return true;
    }
    if (name == "MainPID") {
      std::uint32_t pid = 0;
      (void)sd_bus_message_read(all_properties, "v", "u", &pid);
      result.main_pid = static_cast<pid_t>(pid);
      return true;
    }
    if (name == "MemoryMax") {
      std::uint64_t bytes = 0;
      (void)sd_bus_message_read(all_properties, "v", "t", &bytes);
      result.memory_max = bytes == UINT64_MAX ? 0 : bytes;
      return true;
    }
    return false;
  });
  return result;
}

std::string read_text_property(sd_bus_message* message, std::string_view wanted) {
  std::string result;
  each_property(message, [&](std::string_view name) {
    const char* text = nullptr;
    if (name != wanted || sd_bus_message_read(message, "v", "s", &text) < 0) {
      return false;
    }
    result = text;
    return true;
  });
  return result;
}

std::vector<ListedUnit> read_unit_list(sd_bus_message* reply) {
  std::vector<ListedUnit> units;
  if (sd_bus_message_enter_container(reply, 'a', "(ssssssouso)") < 0) {
    return units;
  }
  const char* name = nullptr;
  const char* description = nullptr;
  const char* ignored = nullptr;
  std::uint32_t job = 0;
  while (sd_bus_message_read(reply, "(ssssssouso)", &name, &description, &ignored, &ignored, &ignored, &ignored,
                             &ignored, &job, &ignored, &ignored) > 0) {
    units.push_back({name, description});
  }
  return units;
}

server::InstanceExit instance_exit(const ExitProperties& properties, std::uint64_t memory_max,
                                   std::string_view server) {
  if (properties.result == "oom-kill") {
    return {memory_max > 0 ? fmt::format("was killed for using more than its {} MiB of memory", memory_max >> 20U)
                           : "was killed, for the machine ran out of memory",
            false};
  }
  const bool clean = properties.code == CLD_EXITED && properties.status == 0;
  return {fmt::format("{}; its messages: journalctl HAL9000_SERVER={}", describe(properties), server), clean};
}

Error start_error(const ExitProperties& properties, std::string_view unit) {
  if (const auto step = failed_step(properties.status); properties.code == CLD_EXITED && !step.empty()) {
    return {properties.status == 203 ? Errc::not_found : Errc::unavailable, fmt::format("{}: {}", unit, step)};
  }
  return {Errc::unavailable, fmt::format("{}: {}", unit, describe(properties))};
}

}  // namespace hal::host
