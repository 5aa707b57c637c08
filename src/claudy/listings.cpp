#include "base/names.hpp"
#include "base/text.hpp"
#include "claudy/client.hpp"
#include "claudy/reply.hpp"
#include "claudy/table.hpp"
#include "claudy/text_values.hpp"
#include "claudy/verbs.hpp"
#include "json/json.hpp"

#include <pwd.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs that show. */
namespace hal::claudy {

namespace {

using nlohmann::json;

std::uint64_t now_usec() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
}

std::string user_name(std::uint64_t uid) {
  const passwd* user = ::getpwuid(static_cast<uid_t>(uid));  // NOLINT(concurrency-mt-unsafe): there is one thread
  return user != nullptr ? user->pw_name : std::to_string(uid);
}

/** A property as people read it: sizes and times with units, lists with commas. */
std::string for_people(const std::string& key, const json& value) {
  const auto ends_with = [&key](std::string_view end) {
    return key.size() >= end.size() && key.compare(key.size() - end.size(), end.size(), end) == 0;
  };
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (value.is_array()) {
    std::string list;
    for (const auto& element : value) {
      list += (list.empty() ? "" : ", ") + for_people("", element);
    }
    return list;
  }
  if (value.is_boolean()) {
    return value.get<bool>() ? "yes" : "no";
  }
  if (key == "exit_code" && value == -1) {
    return "";  // it has not ended
  }
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (ends_with("_usec")) {
      return number == 0 ? "" : format_age(number, now_usec()) + " ago";
    }
    if (ends_with("_nsec")) {
      return fmt::format("{:.1f}s", static_cast<double>(number) / 1e9);
    }
    if (key == "memory_current" || key == "memory_max") {
      return format_size(number);
    }
    if (key == "owner") {
      return fmt::format("{} ({})", user_name(number), number);
    }
  }
  return hal::json::dump(value);
}

/** An object's members below each other, nested ones as "engine version". */
void add_rows(std::vector<std::pair<std::string, std::string>>& rows, const std::string& prefix, const json& object) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      add_rows(rows, prefix + key + " ", value);
    } else {
      rows.emplace_back(prefix + key, for_people(key, value));
    }
  }
}

std::string as_pairs(const json& object) {
  std::vector<std::pair<std::string, std::string>> rows;
  add_rows(rows, "", object);
  return pairs(rows);
}

std::string worker_table(const json& workers, bool all) {
  std::vector<std::string> header = {"NAME", "STATE", "AGE", "MEMORY", "ID", "WORKSPACE"};
  if (all) {
    header.insert(header.begin() + 1, "OWNER");
  }
  Table table(std::move(header));
  for (const auto& worker : workers) {
    const auto state = text_of(worker, "state");
    const bool ended = state == "exited" || state == "failed";
    std::vector<std::string> cells = {
        text_of(worker, "name"),
        ended ? fmt::format("{} ({})", state, worker.value("exit_code", -1)) : state,
        format_age(number_of(worker, "created_usec"), now_usec()),
        ended ? ""
              : format_size(number_of(worker, "memory_current")) + "/" + format_size(number_of(worker, "memory_max")),
        text_of(worker, "id"),
        text_of(worker, "workspace")};
    if (all) {
      cells.insert(cells.begin() + 1, user_name(number_of(worker, "owner")));
    }
    table.add(cells);
  }
  return table.text();
}

std::string server_table(const json& servers) {
  Table table({"NAME", "STATE", "MODE", "PID", "SESSIONS", "REQUESTS", "ERRORS", "RESTARTS", "FILE", "REASON"});
  for (const auto& server : servers) {
    const auto pid = number_of(server, "main_pid");
    table.add({text_of(server, "name"), text_of(server, "state"), text_of(server, "mode"),
               pid == 0 ? "" : std::to_string(pid), std::to_string(number_of(server, "sessions")),
               std::to_string(number_of(server, "requests")), std::to_string(number_of(server, "errors")),
               std::to_string(number_of(server, "restarts")), text_of(server, "config_file"),
               text_of(server, "reason")});
  }
  return table.text();
}

/** ServerInfo is JSON text of the server's own; in our document it is JSON. */
json with_server_info(json server) {
  const auto info = hal::json::parse(text_of(server, "server_info"));
  server["server_info"] = info && info->is_object() ? *info : json::object();
  return server;
}

/** The time that `part` of the answers took less than; "-" where there were none. Pairs of bound (µs) and count. */
std::string quantile(const json& latency, double part) {
  std::uint64_t all = 0;
  for (const auto& bucket : latency) {
    all += bucket.at(1).get<std::uint64_t>();
  }
  std::uint64_t seen = 0;
  for (const auto& bucket : latency) {
    seen += bucket.at(1).get<std::uint64_t>();
    if (all != 0 && static_cast<double>(seen) >= part * static_cast<double>(all)) {
      const auto bound = bucket.at(0).get<std::uint64_t>();
      return bound == UINT64_MAX ? "very long" : fmt::format("< {:g} ms", static_cast<double>(bound) / 1000.0);
    }
  }
  return "-";
}

/** Worker, owner, requests, calls, refused, errors, bytes from and to it, as the property SessionList has them. */
std::string session_table(const json& sessions) {
  Table table({"SESSION", "WORKER", "OWNER", "REQUESTS", "CALLS", "REFUSED", "ERRORS", "RECEIVED", "SENT", "MEDIAN"});
  for (const auto& session : sessions) {
    const auto number = [&session](std::size_t i) { return session.at(i).get<std::uint64_t>(); };
    table.add({session.at(0).get<std::string>(), session.at(1).get<std::string>(), user_name(number(2)),
               std::to_string(number(3)), std::to_string(number(4)), std::to_string(number(5)),
               std::to_string(number(6)), format_size(number(7)), format_size(number(8)),
               quantile(session.at(9), 0.5)});
  }
  return table.text();
}

std::string server_text(const json& server) {
  json rows = server;
  const auto latency = server.value("latency", json::array());
  const auto sessions = server.value("session_list", json::array());
  rows.erase("session_list");
  rows["latency"] = fmt::format("median {}, 99 % {}", quantile(latency, 0.5), quantile(latency, 0.99));
  return as_pairs(rows) + (sessions.empty() ? "" : "\n" + session_table(sessions));
}

Result<int> show(const Global& global, const ListOptions& options, const Listing& listing) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  return show_listing(**bus, options, listing);
}

/** How many of the objects are in each state. */
json count_states(const json& objects) {
  json counts = json::object();
  for (const auto& object : objects) {
    const auto state = text_of(object, "state");
    counts[state] = counts.value(state, 0U) + 1U;
  }
  return counts;
}

Result<json> read_status(Bus& bus) {
  auto manager = properties(bus, names::root_path, manager_interface);
  if (!manager) {
    return manager.error();
  }
  auto all = snapshot(bus);
  if (!all) {
    return all.error();
  }
  json servers = json::array();
  for (auto& server : (*all)["servers"]) {
    servers.push_back(with_server_info(std::move(server)));
  }
  json status = std::move(*manager);
  status["parent"] = std::move((*all)["parent"]);
  status["pool"] = std::move((*all)["pool"]);
  status["servers"] = std::move(servers);
  status["workers"] = count_states((*all)["workers"]);
  return status;
}

std::string counted(const json& counts) {
  std::string text;
  for (const auto& [state, count] : counts.items()) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", hal::json::dump(count), state);
  }
  return text.empty() ? "none" : text;
}

std::string with_reason(const std::string& state, const std::string& reason) {
  return reason.empty() ? state : fmt::format("{} ({})", state, reason);
}

std::string pool_line(const json& pool) {
  return with_reason(fmt::format("{} of {} warm", number_of(pool, "warm"), number_of(pool, "target")),
                     text_of(pool, "reason"));
}

std::string status_text(const json& status) {
  const auto engine = status.value("engine", json::object());
  const auto parent = status.value("parent", json::object());
  const bool engine_up = engine.value("available", false);
  return pairs({
             {"hal9000d", fmt::format("{}, version {}", text_of(status, "state"), text_of(status, "version"))},
             {"engine", engine_up ? fmt::format("available, version {}", text_of(engine, "version"))
                                  : with_reason("unavailable", text_of(engine, "reason"))},
             {"parent", with_reason(text_of(parent, "state"), text_of(parent, "reason"))},
             {"chroma", text_of(parent, "chroma_health")},
             {"workers", counted(status.value("workers", json::object()))},
             {"pool", pool_line(status.value("pool", json::object()))},
         }) +
         "\n" + server_table(status.value("servers", json::array()));
}

}  // namespace

Result<int> list_workers(const Global& global, const WorkerListOptions& options) {
  const auto read = [all = options.all](Bus& bus) -> Result<json> {
    auto everything = snapshot(bus);
    if (!everything) {
      return everything.error();
    }
    json workers = json::array();
    for (auto& worker : (*everything)["workers"]) {
      const bool own = number_of(worker, "owner") == ::geteuid() && text_of(worker, "state") != "warm";
      if (all || own) {
        workers.push_back(std::move(worker));
      }
    }
    return workers;
  };
  return show(global, options, {read, [all = options.all](const json& workers) { return worker_table(workers, all); }});
}

Result<int> show_worker(const Global& global, const ShowOptions& options) {
  const auto read = [name = options.name](Bus& bus) -> Result<json> {
    const auto path = find_worker(bus, name);
    return path ? properties(bus, *path, worker_interface) : Result<json>(path.error());
  };
  return show(global, options, {read, as_pairs});
}

Result<int> list_servers(const Global& global, const ListOptions& options) {
  const auto read = [](Bus& bus) -> Result<json> {
    auto status = read_status(bus);
    return status ? Result<json>(std::move((*status)["servers"])) : status;
  };
  return show(global, options, {read, server_table});
}

Result<int> show_server(const Global& global, const ShowOptions& options) {
  const auto read = [name = options.name](Bus& bus) -> Result<json> {
    auto server = server_properties(bus, name);
    return server ? Result<json>(with_server_info(std::move(*server))) : server;
  };
  return show(global, options, {read, server_text});
}

Result<int> show_parent(const Global& global, const ListOptions& options) {
  const auto read = [](Bus& bus) { return properties(bus, names::parent_path, parent_interface); };
  return show(global, options, {read, as_pairs});
}

Result<int> show_status(const Global& global, const ListOptions& options) {
  return show(global, options, {read_status, status_text});
}

}  // namespace hal::claudy
