#pragma once

#include "base/result.hpp"
#include "claudy/options.hpp"

#include <string>

/** One function a verb; each returns claudy's exit code or why it failed. */
namespace hal::claudy {

// open.cpp, spawn.cpp
[[nodiscard]] Result<int> open_claude(const Global& global, const OpenOptions& options);
[[nodiscard]] Result<int> spawn(const Global& global, const SpawnOptions& options);

// listings.cpp
[[nodiscard]] Result<int> list_workers(const Global& global, const WorkerListOptions& options);
[[nodiscard]] Result<int> show_worker(const Global& global, const ShowOptions& options);
[[nodiscard]] Result<int> list_servers(const Global& global, const ListOptions& options);
[[nodiscard]] Result<int> show_server(const Global& global, const ShowOptions& options);
[[nodiscard]] Result<int> show_parent(const Global& global, const ListOptions& options);
[[nodiscard]] Result<int> show_status(const Global& global, const ListOptions& options);

// attach.cpp, exec.cpp, logs.cpp
[[nodiscard]] Result<int> attach(const Global& global, const AttachOptions& options);
[[nodiscard]] Result<int> exec(const Global& global, const ExecOptions& options);
[[nodiscard]] Result<int> logs(const Global& global, const LogsOptions& options);

// worker_verbs.cpp
[[nodiscard]] Result<int> stop(const Global& global, const StopOptions& options);
[[nodiscard]] Result<int> kill(const Global& global, const KillOptions& options);
[[nodiscard]] Result<int> remove(const Global& global, const WorkersOptions& options);
[[nodiscard]] Result<int> restart(const Global& global, const WorkersOptions& options);
[[nodiscard]] Result<int> pause(const Global& global, const WorkersOptions& options);
[[nodiscard]] Result<int> resume(const Global& global, const WorkersOptions& options);
[[nodiscard]] Result<int> set_limits(const Global& global, const WorkerLimitsOptions& options);
[[nodiscard]] Result<int> send(const Global& global, const SendOptions& options);
[[nodiscard]] Result<int> capture(const Global& global, const CaptureOptions& options);

// system_verbs.cpp
/** `verb`: Start, Stop or Restart. */
[[nodiscard]] Result<int> change_server(const Global& global, const std::string& name, const std::string& verb);
[[nodiscard]] Result<int> restart_chroma(const Global& global);
/** `verb`: start, stop or restart. */
[[nodiscard]] Result<int> change_daemon(const Global& global, const std::string& verb);
[[nodiscard]] Result<int> show_daemon(const Global& global, const ListOptions& options);

// pool_verbs.cpp
[[nodiscard]] Result<int> show_pool(const Global& global, const ListOptions& options);
[[nodiscard]] Result<int> scale_pool(const Global& global, const PoolScaleOptions& options);
/** Waits until so many are warm. */
[[nodiscard]] Result<int> warm_pool(const Global& global, const PoolWarmOptions& options);
/** Waits until none is left. */
[[nodiscard]] Result<int> drain_pool(const Global& global);
[[nodiscard]] Result<int> clean_pool(const Global& global);

// image_verbs.cpp
[[nodiscard]] Result<int> list_images(const Global& global, const ListOptions& options);
/** Waits until they are built, as load_images does. */
[[nodiscard]] Result<int> build_images(const Global& global, const ImageBuildOptions& options);
[[nodiscard]] Result<int> load_images(const Global& global, const std::string& archive);

// server_verbs.cpp
[[nodiscard]] Result<int> list_tools(const Global& global, const ShowOptions& options);
/** A tool, or a method of MCP where there is a slash in it. */
[[nodiscard]] Result<int> call_server(const Global& global, const ServerCallOptions& options);
/** Becomes journalctl. */
[[nodiscard]] Result<int> server_logs(const Global& global, const ServerLogsOptions& options);

// server_install.cpp
[[nodiscard]] Result<int> install_server(const Global& global, const ServerInstallOptions& options);
[[nodiscard]] Result<int> uninstall_server(const Global& global, const std::string& name);

// server_import.cpp
[[nodiscard]] Result<int> import_servers(const Global& global, const ServerImportOptions& options);

// trace_verb.cpp
/** Until Ctrl-C, or the end of the worker, the server, the daemon. */
[[nodiscard]] Result<int> trace_server(const Global& global, const ServerTraceOptions& options);

}  // namespace hal::claudy
