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
  hello.roots = declares(declared, "roots");
  hello.sampling = declares(declared, "sampling");
  hello.elicitation = declares(declared, "elicitation");
  return hello;
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
  capabilities.erase("tasks");
  ServerHello hello;
  hello.revision = std::move(*revision);
  hello.logging = declares(capabilities, "logging");
  hello.tools_list_changed = declares_list_changed(capabilities, "tools");
  hello.resources_list_changed = declares_list_changed(capabilities, "resources");
  hello.prompts_list_changed = declares_list_changed(capabilities, "prompts");
  if (const auto* info = json::find(*object, "serverInfo"); info != nullptr) {
    hello.server_info = json::dump(*info);
  }
  hello.result = json::dump(*object);
  return hello;
}

std::string result_for(const ServerHello& server, std::string_view client_revision) {
  const bool known = std::find(revisions.begin(), revisions.end(), client_revision) != revisions.end();
  if (!known || client_revision >= server.revision) {
    return server.result;
  }
  auto result = json::parse(server.result, hello_limits);
  if (!result) {
    return server.result;
  }
  (*result)["protocolVersion"] = client_revision;
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
