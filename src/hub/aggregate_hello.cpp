#include "hub/aggregate_hello.hpp"

#include "build_config.hpp"
#include "hub/handshake.hpp"
#include "json/json.hpp"

#include <nlohmann/json.hpp>

namespace hal::hub {

namespace {

using Json = nlohmann::json;

constexpr std::array<ListSpec, list_count> specs = {{
    {"tools/list", "tools", "name", true},
    {"prompts/list", "prompts", "name", true},
    {"resources/list", "resources", "uri", false},
    {"resources/templates/list", "resourceTemplates", "uriTemplate", false},
    {"tasks/list", "tasks", "taskId", true},
}};

const Json* object_in(const Json& object, std::string_view key) {
  const auto* value = json::find(object, key);
  return value != nullptr && value->is_object() ? value : nullptr;
}

}  // namespace

const ListSpec& spec_of(List list) {
  return specs.at(static_cast<std::size_t>(list));
}

Result<MemberHello> read_member_hello(std::string_view result) {
  const auto object = json::parse(result, {.bytes = std::size_t{1} << 20});
  if (!object) {
    return object.error();
  }
  const auto capabilities = json::object_at(*object, "capabilities", "result");
  if (!capabilities) {
    return capabilities.error();
  }
  const auto declares = [&](std::string_view key) { return object_in(**capabilities, key) != nullptr; };
  MemberHello hello;
  const bool has_resources = declares("resources");
  const auto* tasks = object_in(**capabilities, "tasks");
  hello.has = {declares("tools"), declares("prompts"), has_resources, has_resources,
               tasks != nullptr && object_in(*tasks, "list") != nullptr};
  if (has_resources) {
    hello.subscribe = json::optional_bool_at(*object_in(**capabilities, "resources"), "subscribe").value_or({}) == true;
  }
  hello.logging = declares("logging");
  if (auto instructions = json::optional_string_at(*object, "instructions"); instructions && *instructions) {
    hello.instructions = std::move(**instructions);
  }
  return hello;
}

std::string_view aggregate_revision(std::string_view client_revision) {
  ServerHello newest;
  newest.revision = newest_revision;
  return revision_for(newest, client_revision) == client_revision ? client_revision : newest_revision;
}

std::string aggregate_hello(std::string_view revision, const std::string& instructions) {
  const Json changes = {{"listChanged", true}};
  Json capabilities = {{"completions", Json::object()},
                       {"logging", Json::object()},
                       {"prompts", changes},
                       {"resources", {{"listChanged", true}, {"subscribe", true}}},
                       {"tools", changes}};
  if (revision >= tasks_revision) {
    capabilities["tasks"] = {
        {"cancel", Json::object()}, {"list", Json::object()}, {"requests", {{"tools", {{"call", Json::object()}}}}}};
  }
  Json result = {{"protocolVersion", revision},
                 {"capabilities", std::move(capabilities)},
                 {"serverInfo", {{"name", "hal9000"}, {"version", build::version}}}};
  if (!instructions.empty()) {
    result["instructions"] = instructions;
  }
  return json::dump(result);
}

}  // namespace hal::hub
