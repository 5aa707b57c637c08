#include "worker/container_spec.hpp"

#include "base/names.hpp"

#include <cmath>

#include <fmt/format.h>

namespace hal::worker {

namespace {

/** Enough for compilers' temporary files; counts against the worker's memory. */
constexpr const char tmp_options[] = "rw,nosuid,nodev,mode=1777,size=1g";
/** Sockets and pid files. */
constexpr const char run_options[] = "rw,nosuid,nodev,noexec,mode=1777,size=16m";

std::string hostname_of(const Worker& worker) {
  // At most 63 bytes of letters, digits and '-' (RFC 1123).
  std::string result;
  for (const char c : worker.name.substr(0, 63)) {
    result += c == '.' || c == '_' ? '-' : c;
  }
  return result;
}

}  // namespace

std::string run_folder(const Settings& settings, const WorkerId& id) {
  return fmt::format("{}/worker/{}", settings.run_dir, id.value);
}

ContainerSpec worker_spec(const Settings& settings, const Worker& worker, const ContainerId& parent,
                          std::optional<std::pair<uid_t, gid_t>> run_as) {
  ContainerSpec spec;
  spec.name = fmt::format("hal9000-{}-worker-{}", settings.instance, worker.id.value);
  spec.image = worker.image;
  spec.labels = {
      {names::label_role, names::role_worker}, {names::label_id, worker.id.value},
      {names::label_name, worker.name},        {names::label_owner, std::to_string(worker.owner)},
      {names::label_profile, worker.profile},
  };
  if (!worker.generation.empty()) {
    spec.labels[names::label_generation] = worker.generation;
  }
  spec.entrypoint = {names::worker_init};
  if (run_as) {
    spec.user = fmt::format("{}:{}", run_as->first, run_as->second);
  }
  if (worker.network == Network::parent) {
    spec.network = "container:" + parent.value;
  } else {
    spec.network = "none";
    spec.hostname = hostname_of(worker);
  }
  spec.working_dir = "/";
  spec.slice = "worker";
  spec.memory_bytes = worker.limits.memory_bytes;
  spec.nano_cpus = static_cast<std::uint64_t>(std::llround(worker.limits.cpus * 1e9));
  spec.pids = worker.limits.pids;
  spec.tmpfs = {{"/tmp", tmp_options}, {"/run", run_options}};
  spec.binds = {
      {run_folder(settings, worker.id), names::worker_run, true},
      {settings.init_program, names::worker_init, true},
      {settings.relay_program, names::worker_relay, true},
      {run_folder(settings, worker.id) + "/settings.json", names::worker_managed_settings, true},
  };
  return spec;
}

ContainerSpec holder_spec(const Settings& settings) {
  ContainerSpec spec;
  spec.name = fmt::format("hal9000-{}-parent", settings.instance);
  spec.image = settings.parent_image;
  spec.labels = {{names::label_role, names::role_parent}};
  spec.entrypoint = {names::worker_init};
  spec.command = {"--pause"};
  spec.user = "65534:65534";
  spec.hostname = "hal9000";
  spec.network = settings.parent_network;
  spec.slice = "parent";
  spec.memory_bytes = settings.parent_memory_bytes;
  spec.pids = 8;
  spec.binds = {{settings.init_program, names::worker_init, true}};
  spec.stop_timeout = std::chrono::seconds(2);
  return spec;
}

ContainerSpec chroma_spec(const Settings& settings, const ContainerId& holder, const std::string& data_dir, uid_t uid,
                          gid_t gid) {
  ContainerSpec spec;
  spec.name = fmt::format("hal9000-{}-chroma", settings.instance);
  spec.image = settings.parent_image;
  spec.labels = {{names::label_role, names::role_chroma}, {label_parent, holder.value}};
  spec.entrypoint = {"/usr/local/bin/hal9000-chroma"};
  spec.user = fmt::format("{}:{}", uid, gid);
  spec.network = "container:" + holder.value;
  spec.slice = "parent";
  spec.memory_bytes = settings.chroma_memory_bytes;
  spec.pids = 256;
  spec.tmpfs = {{"/tmp", tmp_options}};
  spec.binds = {{data_dir, "/data", false}};
  return spec;
}

}  // namespace hal::worker
