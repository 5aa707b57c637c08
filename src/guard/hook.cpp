#include "guard/hook.hpp"

#include "json/json.hpp"

#include <stdlib.h>

#include <memory>

#include <nlohmann/json.hpp>

namespace hal::guard {

namespace {

using Objection = std::optional<std::string>;

constexpr json::Limits input_limits{max_input_bytes, limits::json_depth, 1'000'000};

/** Also of a link that leads to one. */
bool leads_to_env_file(const std::string& path) {
  if (is_env_file(path)) {
    return true;
  }
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
  return real != nullptr && is_env_file(real.get());
}

}  // namespace

Result<Objection> objection_to_tool(std::string_view input, const Guards& guards) {
  const auto document = json::parse(input, input_limits);
  if (!document) {
    return document.error();
  }
  const auto arguments = json::object_at(*document, "tool_input");
  if (!arguments) {
    return arguments.error();
  }
  const auto command = json::optional_string_at(**arguments, "command", "tool_input");
  if (!command) {
    return command.error();
  }
  if (*command) {
    return objection_to_script(**command, guards);
  }
  for (const char* key : {"file_path", "notebook_path", "path", "glob"}) {
    const auto path = json::optional_string_at(**arguments, key, "tool_input");
    if (!path) {
      return path.error();
    }
    if (guards.env && *path && leads_to_env_file(**path)) {
      return Objection(env_objection(**path));
    }
  }
  return Objection();
}

std::string refusal(std::string_view reason) {
  const std::string text = "HAL-9000 guards against accidents: " + std::string(reason) +
                           ". If it is really wanted, tell the user, who can run it themselves (claudy exec WORKER -- "
                           "COMMAND) or set \"guards\" in the worker's profile.";
  return json::dump({{"hookSpecificOutput",
                      {{"hookEventName", "PreToolUse"},
                       {"permissionDecision", "deny"},
                       {"permissionDecisionReason", text}}}}) +
         "\n";
}

}  // namespace hal::guard
