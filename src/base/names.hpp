#pragma once

#include <cstdint>

/** Every name other programs see, in one place. They are a contract: a change of one breaks its users. */
namespace hal::names {

inline constexpr const char bus_name[] = "org.hal9000";
inline constexpr const char root_path[] = "/org/hal9000";
inline constexpr const char parent_path[] = "/org/hal9000/parent";
inline constexpr const char pool_path[] = "/org/hal9000/pool";
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
inline constexpr const char worker_token[] = "/run/hal9000/token";
/** MCP over HTTP, on the loopback of the workers' network. */
inline constexpr std::uint16_t worker_http_port = 9000;
/** All MCP servers a worker may use, where a server's name is asked for; no server can have it. */
inline constexpr const char all_servers[] = "*";
inline constexpr const char worker_mcp_config[] = "/run/hal9000/mcp.json";
/** Claude Code reads all files of that folder, and its managed settings go before everybody's. */
inline constexpr const char worker_managed_settings[] = "/etc/claude-code/managed-settings.d/50-hal9000.json";
inline constexpr const char worker_init[] = "/usr/local/bin/hal9000-init";
inline constexpr const char worker_relay[] = "/usr/local/bin/hal9000-mcp";
inline constexpr std::uint32_t worker_uid = 1000;
inline constexpr std::uint32_t worker_gid = 1000;

/** Journal fields: `journalctl HAL9000_WORKER=ID`. */
inline constexpr const char field_worker[] = "HAL9000_WORKER";
inline constexpr const char field_session[] = "HAL9000_SESSION";
inline constexpr const char field_server[] = "HAL9000_SERVER";
inline constexpr const char field_job[] = "HAL9000_JOB";
/** Of a limit that was hit: memory or pids, and whose process was killed or has the most tasks. */
inline constexpr const char field_limit[] = "HAL9000_LIMIT";
inline constexpr const char field_process[] = "HAL9000_PROCESS";
/** Of the audit lines of tools/call: the worker's owner (uid), outcome, microseconds, hash of the arguments. */
inline constexpr const char field_owner[] = "HAL9000_OWNER";
inline constexpr const char field_tool[] = "HAL9000_TOOL";
inline constexpr const char field_outcome[] = "HAL9000_OUTCOME";
inline constexpr const char field_duration[] = "HAL9000_DURATION_USEC";
inline constexpr const char field_arguments[] = "HAL9000_ARGUMENTS";

/**
 * What an operator acts on: `journalctl MESSAGE_ID=ID`, explained by `journalctl -x` from systemd/hal9000.catalog. An
 * id stays with its meaning for ever; a new meaning gets a new one (`systemd-id128 new`).
 */
inline constexpr const char field_message_id[] = "MESSAGE_ID";
inline constexpr const char message_id_worker_running[] = "25f3d82e064b49c5bf79c8a40c528df1";
inline constexpr const char message_id_worker_ended[] = "ab1ca8ec0d7d4ee488b6a5d66477c116";
inline constexpr const char message_id_worker_not_made[] = "45bce4e31add414abb1dd06fbd100acc";
inline constexpr const char message_id_worker_out_of_memory[] = "3734c8e6df844c6dac81e486e54eaf35";
inline constexpr const char message_id_worker_out_of_tasks[] = "57a2b28ef28241e89f6b786405a2298e";
inline constexpr const char message_id_worker_cut_off[] = "22c350c365d8455492b12ad1e9258f60";
inline constexpr const char message_id_worker_unhealthy[] = "9153fa8948874f1288b955c581ba7f01";
inline constexpr const char message_id_worker_given_up[] = "31b9f9ad164e469884afa21eaa04030a";
inline constexpr const char message_id_worker_follows[] = "411be11fa6434af9abd3b24f38c4eec2";
inline constexpr const char message_id_pool_degraded[] = "bbfb862ac56740f59c6cf69501eff2bc";
inline constexpr const char message_id_server_failed[] = "de919b91c4fb43dab5360e3091a5fc0d";
inline constexpr const char message_id_gateway_lost[] = "a70b5d2f9b824f219aea9b56696757dd";
inline constexpr const char message_id_gateway_connected[] = "5c996ded61fa446f8c010ff4f45cf182";
inline constexpr const char message_id_engine_lost[] = "0c730363b12c4b38a47c9afd00a875dd";
inline constexpr const char message_id_engine_connected[] = "3ca0bcec6ee941eda13ae7a77672d72c";
inline constexpr const char message_id_parent_lost[] = "73fe57844af74937b809d71cfda3e779";
inline constexpr const char message_id_tool_called[] = "8a682ec0735b43d5a7091a93cad9437e";
inline constexpr const char message_id_config_refused[] = "3390117ede7f4f3c87c049e4fa07cbe9";
inline constexpr const char message_id_config_loaded[] = "23f0a5ffc4ab4f61bfe615b1eeb339c3";

}  // namespace hal::names
