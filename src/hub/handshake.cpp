#include "hub/handshake.hpp"

#include "base/text.hpp"
#include "build_config.hpp"
#include "json/json.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::hub {

namespace {

using Json = nlohmann::json;

/** Revisions whose handshake is `initialize`, oldest first; their names sort by age. */
constexpr std::array<std::string_view, 4> revisions = {"2024-11-05", "2025-03-26", "2025-06-18", newest_revision};

constexpr std::array<std::string_view, 8> log_levels = {"debug", "info",     "notice", "warning",
                                                        "error", "critical", "alert",  "emergency"};

constexpr json::Limits hello_limits{.bytes = std::size_t{1} << 20};

bool declares(const Json& capabilities, std::string_view name) {
  const auto* value = json::find(capabilities, name);
  return value != nullptr && value->is_object();
}

bool declares_list_changed(const Json& capabilities, std::string_view name) {
  const auto* value = json::find(capabilities, name);
  return value != nullptr && value->is_object() && json::optional_bool_at(*value, "listChanged").value_or({}) == true;
}

}  // namespace

Result<ClientHello> read_client_hello(std::string_view params) {
  const auto object = json::parse(params, hello_limits);
  if (!object) {
    return object.error();
  }
  auto revision = json::string_at(*object, "protocolVersion", "params");
  if (!revision) {
    return revision.error();
  }
  const auto capabilities = json::optional_object_at(*object, "capabilities", "params");
  if (!capabilities) {
    return capabilities.error();
  }
  const Json declared = *capabilities != nullptr ? **capabilities : Json::object();
  ClientHello hello;
  hello.revision = std::move(*revision);
  hello.capabilities = json::dump(declared);
  if (const auto* info = json::find(*object, "clientInfo"); info != nullptr && info->is_object()) {
    hello.client_info = json::dump(*info);
  }
  hello.roots = declares(declared, "roots");
  if (const auto* sampling = json::find(declared, "sampling"); sampling != nullptr && sampling->is_object()) {
    hello.sampling = true;
    hello.sampling_tools = declares(*sampling, "tools");
  }
  if (const auto* elicitation = json::find(declared, "elicitation");
      elicitation != nullptr && elicitation->is_object()) {
    hello.elicitation_url = declares(*elicitation, "url");
    hello.elicitation_form = declares(*elicitation, "form") || !hello.elicitation_url;
  }
  return hello;
}

bool may_be_asked(const ClientHello& client, std::string_view method, std::string_view params) {
  if (method == "roots/list") {
    return client.roots;
  }
  if (method == "sampling/createMessage") {
    if (!client.sampling || client.sampling_tools) {
      return client.sampling;
    }
    const auto object = json::parse(params);
    return !object || json::find(*object, "tools") == nullptr;
  }
  if (method == "elicitation/create") {
    const auto object = json::parse(params);
    const auto mode =
        object ? json::optional_string_at(*object, "mode") : Result<std::optional<std::string>>(std::nullopt);
    return mode && *mode == "url" ? client.elicitation_url : client.elicitation_form;
  }
  return true;
}

std::string server_hello_params(const std::vector<ClientHello>& clients) {
  Json all = Json::object();
  for (const auto& client : clients) {
    const auto declared = json::parse(client.capabilities);
    for (const auto* name : {"roots", "sampling", "elicitation"}) {
      if (declared && declares(*declared, name)) {
        all[name].merge_patch((*declared)[name]);
      }
    }
  }
  return json::dump({{"protocolVersion", newest_revision},
                     {"capabilities", std::move(all)},
                     {"clientInfo", {{"name", "hal9000"}, {"version", build::version}}}});
}

Result<ServerHello> read_server_hello(std::string_view result) {
  auto object = json::parse(result, hello_limits);
  if (!object) {
    return object.error();
  }
  auto revision = json::string_at(*object, "protocolVersion", "result");
  if (!revision) {
    return revision.error();
  }
  if (std::find(revisions.begin(), revisions.end(), *revision) == revisions.end()) {
    return Error{Errc::protocol,
                 "the server speaks protocol version " + text::printable(*revision, 32) + ", which we do not"};
  }
  if (const auto capabilities = json::object_at(*object, "capabilities", "result"); !capabilities) {
    return capabilities.error();
  }
  auto& capabilities = (*object)["capabilities"];
  if (*revision < tasks_revision) {
    capabilities.erase("tasks");
  }
  ServerHello hello;
  hello.revision = std::move(*revision);
  hello.logging = declares(capabilities, "logging");
  if (const auto* tasks = json::find(capabilities, "tasks"); tasks != nullptr && tasks->is_object()) {
    hello.tasks = true;
    hello.tasks_cancel = declares(*tasks, "cancel");
  }
  hello.tools_list_changed = declares_list_changed(capabilities, "tools");
  hello.resources_list_changed = declares_list_changed(capabilities, "resources");
  hello.prompts_list_changed = declares_list_changed(capabilities, "prompts");
  if (const auto* info = json::find(*object, "serverInfo"); info != nullptr) {
    hello.server_info = json::dump(*info);
  }
  hello.result = json::dump(*object);
  return hello;
}

std::string_view revision_for(const ServerHello& server, std::string_view client_revision) {
  const bool known = std::find(revisions.begin(), revisions.end(), client_revision) != revisions.end();
  return known && client_revision < server.revision ? client_revision : std::string_view(server.revision);
}

std::string result_for(const ServerHello& server, std::string_view client_revision) {
  const auto revision = revision_for(server, client_revision);
  if (revision == server.revision) {
    return server.result;
  }
  auto result = json::parse(server.result, hello_limits);
  if (!result) {
    return server.result;
  }
  (*result)["protocolVersion"] = revision;
  if (revision < tasks_revision) {
    (*result)["capabilities"].erase("tasks");
  }
  return json::dump(*result);
}

Result<int> log_level_rank(std::string_view level) {
  const auto found = std::find(log_levels.begin(), log_levels.end(), level);
  if (found == log_levels.end()) {
    return Error{Errc::invalid_argument, "params.level: is no log level"};
  }
  return static_cast<int>(found - log_levels.begin());
}

std::string_view log_level_name(int rank) {
  return log_levels.at(static_cast<std::size_t>(rank));
}

Result<int> read_log_level(std::string_view params) {
  const auto object = json::parse(params);
  if (!object) {
    return object.error();
  }
  const auto level = json::string_at(*object, "level", "params");
  if (!level) {
    return level.error();
  }
  return log_level_rank(*level);
}

}  // namespace hal::hub
