#include "engine/messages.hpp"
#include "json/json.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::engine {

namespace {

/** The engine keeps two files and starts a new one when the current is full. */
constexpr std::uint64_t log_files = 2;

nlohmann::json log_config(std::uint64_t bytes) {
  if (bytes == 0) {
    return {{"Type", "none"}};
  }
  return {{"Type", "local"},
          {"Config",
           {{"max-size", std::to_string(std::max<std::uint64_t>(bytes / log_files, 1))},
            {"max-file", std::to_string(log_files)}}}};
}

nlohmann::json mounts(const std::vector<worker::ContainerSpec::Bind>& binds) {
  // Mounts, not Binds: the engine makes an absent source of a bind, and a mistake would go unseen.
  auto list = nlohmann::json::array();
  for (const auto& bind : binds) {
    list.push_back({{"Type", "bind"}, {"Source", bind.source}, {"Target", bind.target}, {"ReadOnly", bind.read_only}});
  }
  return list;
}

nlohmann::json host_config(const worker::ContainerSpec& spec, const std::string& cgroup_parent) {
  nlohmann::json config = {
      {"CapDrop", {"ALL"}},
      {"SecurityOpt", {"no-new-privileges"}},
      {"Privileged", false},
      {"ReadonlyRootfs", spec.read_only_root},
      {"Tmpfs", spec.tmpfs},
      {"Mounts", mounts(spec.binds)},
      {"LogConfig", log_config(spec.log_bytes)},
      {"RestartPolicy", {{"Name", "no"}}},  // there is one supervisor, and it is not the engine
      {"AutoRemove", false},                // it would race reading the exit code
      {"Init", false},
      {"IpcMode", "private"},
  };
  if (!cgroup_parent.empty()) {
    config["CgroupParent"] = cgroup_parent;
  }
  if (!spec.network.empty()) {
    config["NetworkMode"] = spec.network;
  }
  if (spec.memory_bytes != 0) {
    config["Memory"] = spec.memory_bytes;
    config["MemorySwap"] = spec.memory_bytes;  // memory and swap together: no swap
  }
  if (spec.nano_cpus != 0) {
    config["NanoCpus"] = spec.nano_cpus;
  }
  if (spec.pids != 0) {
    config["PidsLimit"] = spec.pids;
  }
  return config;
}

}  // namespace

std::string cgroup_parent(std::string_view driver, std::string_view slice_path, std::string_view slice) {
  if (slice.empty()) {
    return {};
  }
  if (driver == "systemd") {
    return fmt::format("hal9000-{}.slice", slice);
  }
  return driver == "cgroupfs" ? fmt::format("{}/{}", slice_path, slice) : std::string();
}

std::string create_body(const worker::ContainerSpec& spec, const std::string& cgroup_parent) {
  nlohmann::json body = {
      {"Image", spec.image},
      {"Labels", spec.labels},
      {"Env", spec.env},
      {"Tty", false},
      {"OpenStdin", false},
      {"StopSignal", "SIGTERM"},
      {"StopTimeout", spec.stop_timeout.count()},
      {"HostConfig", host_config(spec, cgroup_parent)},
  };
  const auto add = [&body](const char* key, const auto& value) {
    if (!value.empty()) {
      body[key] = value;
    }
  };
  add("Entrypoint", spec.entrypoint);
  add("Cmd", spec.command);
  add("User", spec.user);
  add("Hostname", spec.hostname);
  add("WorkingDir", spec.working_dir);
  return json::dump(body);
}

std::string update_body(const worker::LimitChange& change) {
  nlohmann::json body = nlohmann::json::object();
  if (change.memory_bytes) {
    body["Memory"] = *change.memory_bytes;
    body["MemorySwap"] = *change.memory_bytes;
  }
  if (change.nano_cpus) {
    body["NanoCpus"] = *change.nano_cpus;
  }
  if (change.pids) {
    body["PidsLimit"] = *change.pids;
  }
  return json::dump(body);
}

std::string label_filter(const Labels& labels) {
  auto list = nlohmann::json::array();
  for (const auto& [key, value] : labels) {
    list.push_back(fmt::format("{}={}", key, value));
  }
  return json::dump({{"label", std::move(list)}});
}

}  // namespace hal::engine
