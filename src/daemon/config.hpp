#pragma once

#include "base/log.hpp"
#include "base/result.hpp"
#include "server/config.hpp"
#include "worker/settings.hpp"

#include <string>
#include <vector>

/** The settings of hal9000d: vendor file, administrator's file, drop-ins in name order, profiles, MCP servers. */
namespace hal::daemon {

/** Where things are; systemd's environment ($CONFIGURATION_DIRECTORY …) before the built-in places. */
struct Places {
  std::string vendor_dir;
  std::string config_dir;
  std::string state_dir;
  std::string run_dir;
  std::string cache_dir;
  std::string programs_dir;
  /** Empty: there are none. */
  std::string credentials_dir;
};
[[nodiscard]] Places places_from_environment();

/** Who runs a part: we as our child, systemd as a unit, or systemd if it is there. */
enum class RunAs { automatic, child, unit };

struct Config {
  log::Level log_level = log::Level::info;
  std::string engine_socket = "/run/docker.sock";
  RunAs gateway = RunAs::automatic;
  RunAs servers = RunAs::automatic;
  worker::Settings worker;
  server::ServerConfigs mcp;
};

/**
 * Reads everything anew. An unknown key, a wrong type or an impossible value is an error that names file, line and
 * key; then nothing of what was read is used. Missing files are no error, except the vendor's.
 */
[[nodiscard]] Result<Config> read_config(const Places& places);

/** The part of it that is MCP servers: mcp.json and mcp.d. */
[[nodiscard]] std::string mcp_directory(const Places& places);
[[nodiscard]] server::ConfigOptions mcp_options(const Places& places);
[[nodiscard]] Result<server::ServerConfigs> read_mcp_servers(const Places& places);

}  // namespace hal::daemon
