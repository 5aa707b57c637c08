#include "claudy/client.hpp"

#include "base/names.hpp"
#include "base/text.hpp"
#include "claudy/reply.hpp"
#include "claudy/text_values.hpp"

#include <systemd/sd-bus.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

using nlohmann::json;

Error unreadable() {
  return {Errc::protocol, "the daemon's answer cannot be read: claudy and the daemon are of different versions"};
}

/** The first output argument, if it is there and of this kind. */
Result<json> first(Result<Reply> reply, bool (json::*is_kind)() const noexcept) {
  if (!reply) {
    return reply.error();
  }
  if (reply->body().empty() || !(reply->body()[0].*is_kind)()) {
    return unreadable();
  }
  return std::move(reply->body()[0]);
}

std::string server_path(std::string_view name) {
  char* encoded = nullptr;
  if (const int r = sd_bus_path_encode(names::server_path_prefix, std::string(name).c_str(), &encoded); r < 0) {
    throw_errno("sd_bus_path_encode", -r);
  }
  const std::unique_ptr<char, decltype(&std::free)> owned(encoded, &std::free);
  return encoded;
}

void sort_by(json& array, const char* key) {
  std::stable_sort(array.begin(), array.end(),
                   [key](const json& a, const json& b) { return a.value(key, json()) < b.value(key, json()); });
}

}  // namespace

Method manager_method(std::string member) {
  return {names::root_path, std::string(manager_interface), std::move(member)};
}

Method worker_method(const std::string& path, std::string member) {
  return {path, std::string(worker_interface), std::move(member)};
}

Method parent_method(std::string member) {
  return {names::parent_path, std::string(parent_interface), std::move(member)};
}

Method pool_method(std::string member) {
  return {names::pool_path, std::string(pool_interface), std::move(member)};
}

Method server_method(std::string_view name, std::string member) {
  return {server_path(name), std::string(server_interface), std::move(member)};
}

json printed_keys(const json& properties) {
  json out = json::object();
  for (const auto& [name, value] : properties.items()) {
    out[snake_case(name)] = value;
  }
  return out;
}

Result<std::string> find_worker(Bus& bus, const std::string& id_or_name) {
  auto path = first(bus.call(manager_method("GetWorker"), {Value(id_or_name)}), &json::is_string);
  if (!path) {
    if (path.error().code == Errc::not_found) {
      return Error{Errc::not_found,
                   fmt::format("there is no worker '{}': `claudy ls` lists yours, `claudy ls --all` all",
                               text::printable(id_or_name))};
    }
    return path.error();
  }
  return path->get<std::string>();
}

Result<json> properties(Bus& bus, const std::string& path, std::string_view interface) {
  auto reply = bus.call({path, "org.freedesktop.DBus.Properties", "GetAll"}, {Value(std::string(interface))});
  if (!reply && reply.error().code == Errc::protocol) {
    // Every object has this method, so there is no object; some D-Bus libraries say it this way.
    return Error{Errc::not_found, fmt::format("there is no {}", path)};
  }
  const auto all = first(std::move(reply), &json::is_object);
  if (!all) {
    return all.error();
  }
  return printed_keys(*all);
}

Result<json> server_properties(Bus& bus, std::string_view name) {
  auto server = properties(bus, server_path(name), server_interface);
  if (!server && server.error().code == Errc::not_found) {
    return Error{Errc::not_found,
                 fmt::format("there is no MCP server '{}': see `claudy server ls`", text::printable(name))};
  }
  return server;
}

Result<json> snapshot(Bus& bus) {
  const auto objects =
      first(bus.call({names::root_path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"}), &json::is_object);
  return objects ? Result<json>(snapshot_of(*objects)) : Result<json>(objects.error());
}

json snapshot_of(const json& managed_objects) {
  json workers = json::array();
  json servers = json::array();
  json parent = json::object();
  json pool = json::object();
  for (const auto& [path, interfaces] : managed_objects.items()) {
    for (const auto& [interface, values] : interfaces.items()) {
      if (interface == worker_interface) {
        workers.push_back(printed_keys(values));
        workers.back()["path"] = path;
      } else if (interface == server_interface) {
        servers.push_back(printed_keys(values));
      } else if (interface == parent_interface) {
        parent = printed_keys(values);
      } else if (interface == pool_interface) {
        pool = printed_keys(values);
      }
    }
  }
  sort_by(workers, "created_usec");
  sort_by(servers, "name");
  return {{"workers", std::move(workers)},
          {"servers", std::move(servers)},
          {"parent", std::move(parent)},
          {"pool", std::move(pool)}};
}

std::string text_of(const json& object, const char* key) {
  const auto member = object.find(key);
  return member != object.end() && member->is_string() ? member->get<std::string>() : std::string();
}

std::uint64_t number_of(const json& object, const char* key) {
  const auto member = object.find(key);
  return member != object.end() && member->is_number_unsigned() ? member->get<std::uint64_t>() : 0;
}

}  // namespace hal::claudy
