#pragma once

#include <cstdint>

/** Every name other programs see, in one place. They are a contract: a change of one breaks its users. */
namespace hal::names {

inline constexpr const char bus_name[] = "org.hal9000";
inline constexpr const char root_path[] = "/org/hal9000";
inline constexpr const char parent_path[] = "/org/hal9000/parent";
inline constexpr const char worker_path_prefix[] = "/org/hal9000/worker/";
inline constexpr const char server_path_prefix[] = "/org/hal9000/server";
inline constexpr const char job_path_prefix[] = "/org/hal9000/job/";
inline constexpr const char error_prefix[] = "org.hal9000.Error.";

inline constexpr const char label_role[] = "org.hal9000.role";
inline constexpr const char label_id[] = "org.hal9000.id";
inline constexpr const char label_name[] = "org.hal9000.name";
inline constexpr const char label_owner[] = "org.hal9000.owner";
inline constexpr const char label_profile[] = "org.hal9000.profile";
inline constexpr const char label_generation[] = "org.hal9000.generation";
inline constexpr const char label_instance[] = "org.hal9000.instance";

inline constexpr const char role_parent[] = "parent";
inline constexpr const char role_chroma[] = "chroma";
inline constexpr const char role_worker[] = "worker";

/** Inside a worker. */
inline constexpr const char worker_workspace[] = "/workspace";
inline constexpr const char worker_home[] = "/home/claude";
inline constexpr const char worker_run[] = "/run/hal9000";
inline constexpr const char worker_mcp_socket[] = "/run/hal9000/mcp.sock";
inline constexpr const char worker_control_socket[] = "/run/hal9000/control.sock";
inline constexpr const char worker_mcp_config[] = "/run/hal9000/mcp.json";
inline constexpr const char worker_init[] = "/usr/local/bin/hal9000-init";
inline constexpr const char worker_relay[] = "/usr/local/bin/hal9000-mcp";
inline constexpr std::uint32_t worker_uid = 1000;
inline constexpr std::uint32_t worker_gid = 1000;

/** Journal fields: `journalctl HAL9000_WORKER=ID`. */
inline constexpr const char field_worker[] = "HAL9000_WORKER";
inline constexpr const char field_session[] = "HAL9000_SESSION";
inline constexpr const char field_server[] = "HAL9000_SERVER";
inline constexpr const char field_job[] = "HAL9000_JOB";

}  // namespace hal::names
