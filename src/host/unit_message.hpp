#pragma once

#include "base/result.hpp"
#include "host/system_bus.hpp"
#include "server/config.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hal::host {

/** server: no privilege at all. builder: root that makes root file systems in its own folder, and nothing else. */
enum class Sandbox { server, builder };

/** Everything a server's unit is made from. */
struct UnitSpec {
  std::string name;
  /** What is executed: an absolute path. */
  std::string program;
  const server::ServerConfig* config = nullptr;
  std::string user;
  std::string slice;
  Sandbox sandbox = Sandbox::server;
  int stdin_fd = -1;
  int stdout_fd = -1;
  /** A file PID 1 reads when it starts the unit: properties are for everyone to see, and environments hold secrets. */
  std::string environment_file;
  /** For Network::parent. */
  std::string network_namespace;
};

/** Fills a call of StartTransientUnit. */
[[nodiscard]] Result<void> fill_start_transient_unit(sd_bus_message* message, const UnitSpec& spec);

/** "NAME=value" entries as an environment file has them (systemd.exec(5), EnvironmentFile=). */
[[nodiscard]] std::string environment_file(const std::vector<std::string>& entries);

/** Where the program is: itself if it has a slash (below `cwd` if relative), else found in the PATH of `env`. */
[[nodiscard]] Result<std::string> find_program(const std::string& program, const std::string& cwd,
                                               const std::vector<std::string>& env);

}  // namespace hal::host
