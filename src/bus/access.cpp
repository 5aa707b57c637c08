#include "bus/access.hpp"

#include <algorithm>

namespace hal::bus {

namespace {

constexpr std::string_view manager = "org.hal9000.Manager1";
constexpr std::string_view worker = "org.hal9000.Worker1";
constexpr std::string_view server = "org.hal9000.Server1";
constexpr std::string_view parent = "org.hal9000.Parent1";
constexpr std::string_view pool = "org.hal9000.Pool1";
constexpr std::string_view job = "org.hal9000.Job1";
constexpr std::string_view log_control = "org.freedesktop.LogControl1";

constexpr std::string_view spawn = "org.hal9000.spawn";
constexpr std::string_view claim = "org.hal9000.claim";
constexpr std::string_view manage_any_worker = "org.hal9000.manage-any-worker";
constexpr std::string_view attach_any_worker = "org.hal9000.attach-any-worker";
constexpr std::string_view manage_pool = "org.hal9000.manage-pool";
constexpr std::string_view manage_servers = "org.hal9000.manage-servers";
constexpr std::string_view call_server = "org.hal9000.call-server";
constexpr std::string_view manage_daemon = "org.hal9000.manage-daemon";

constexpr AccessRule rules[] = {
    {manager, "AddServers", Access::action, manage_servers},
    {manager, "BuildImages", Access::action, manage_daemon},
    {manager, "GetWorker", Access::anyone, {}},
    {manager, "InstallServer", Access::action, manage_servers},
    {manager, "ListImages", Access::anyone, {}},
    {manager, "ListWorkers", Access::anyone, {}},
    {manager, "LoadImages", Access::action, manage_daemon},
    {manager, "Reload", Access::action, manage_daemon},
    {manager, "RemoveServer", Access::action, manage_servers},
    {manager, "Spawn", Access::action, spawn},
    {manager, "SpawnAt", Access::action, spawn},
    {manager, "StopAll", Access::action, manage_daemon},

    // What reads or types what a worker shows.
    {worker, "Attach", Access::owner_or_action, attach_any_worker},
    {worker, "Capture", Access::owner_or_action, attach_any_worker},
    {worker, "Exec", Access::owner_or_action, attach_any_worker},
    {worker, "Logs", Access::owner_or_action, attach_any_worker},
    {worker, "ResizeTerminal", Access::owner_or_action, attach_any_worker},
    {worker, "Send", Access::owner_or_action, attach_any_worker},
    {worker, "WaitExec", Access::owner_or_action, attach_any_worker},
    // What ends or changes it.
    {worker, "Kill", Access::owner_or_action, manage_any_worker},
    {worker, "Lease", Access::owner_or_action, manage_any_worker},
    {worker, "Pause", Access::owner_or_action, manage_any_worker},
    {worker, "Remove", Access::owner_or_action, manage_any_worker},
    {worker, "Restart", Access::owner_or_action, manage_any_worker},
    {worker, "Resume", Access::owner_or_action, manage_any_worker},
    {worker, "SetLimits", Access::owner_or_action, manage_any_worker},
    {worker, "Stop", Access::owner_or_action, manage_any_worker},

    {server, "Call", Access::action, call_server},
    {server, "Restart", Access::action, manage_servers},
    {server, "Start", Access::action, manage_servers},
    {server, "Stop", Access::action, manage_servers},
    {server, "Trace", Access::own_or_all, manage_servers},

    {pool, "Claim", Access::action, claim},
    {pool, "Cleanup", Access::action, manage_pool},
    {pool, "Configure", Access::action, manage_pool},
    {pool, "Drain", Access::action, manage_pool},
    {pool, "Scale", Access::action, manage_pool},
    {pool, "Warm", Access::action, manage_pool},

    {parent, "RestartChroma", Access::action, manage_daemon},

    {job, "Cancel", Access::owner_or_action, manage_daemon},

    {log_control, "LogLevel", Access::root, {}},
    {log_control, "LogTarget", Access::root, {}},
};

}  // namespace

std::span<const AccessRule> access_rules() {
  return rules;
}

std::optional<AccessRule> access_rule(std::string_view interface, std::string_view member) {
  const auto* const rule = std::find_if(std::begin(rules), std::end(rules), [&](const AccessRule& candidate) {
    return candidate.interface == interface && candidate.member == member;
  });
  if (rule == std::end(rules)) {
    return std::nullopt;
  }
  return *rule;
}

}  // namespace hal::bus
