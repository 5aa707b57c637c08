#include "worker/managed_settings.hpp"

#include "base/names.hpp"
#include "json/json.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace hal::worker {

namespace {

using nlohmann::json;

/** The guard takes a millisecond; a machine under load longer. */
constexpr int hook_seconds = 10;

json hooks(const std::vector<std::string>& guards) {
  // For a shell: versions of Claude Code that know no list of arguments would start the relay.
  std::string command = std::string(names::worker_relay) + " guard";
  for (const auto& guard : guards) {
    command += " " + guard;
  }
  const bool paths = std::find(guards.begin(), guards.end(), "env") != guards.end();
  const char* tools = paths ? "Bash|Read|Edit|MultiEdit|Write|NotebookEdit|Grep" : "Bash";
  const json hook = {{"type", "command"}, {"command", command}, {"timeout", hook_seconds}};
  return {{"PreToolUse", json::array({{{"matcher", tools}, {"hooks", json::array({hook})}}})}};
}

}  // namespace

std::string managed_settings(const std::vector<std::string>& guards, const std::vector<std::string>& denied_servers) {
  json settings = {{"env",
                    {{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"},
                     {"DISABLE_AUTOUPDATER", "1"},
                     {"DISABLE_ERROR_REPORTING", "1"},
                     {"DISABLE_TELEMETRY", "1"}}}};
  if (!guards.empty()) {
    settings["hooks"] = hooks(guards);
  }
  for (const auto& server : denied_servers) {
    // By command, so that a server of the user's own of that name stays.
    settings["deniedMcpServers"].push_back({{"serverCommand", {names::worker_relay, server}}});
  }
  return hal::json::dump_pretty(settings) + "\n";
}

}  // namespace hal::worker
