#pragma once

#include "policy/grant.hpp"
#include "worker/worker.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hal::worker {

/** A kind of worker: what is not asked for at the spawn comes from here. */
struct Profile {
  std::string image;
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  Limits limits;
  policy::Grant grant;
  /** Accidents of Claude Code that are guarded against: what `hal9000-mcp guard` takes. */
  std::vector<std::string> guards = {"git", "rm", "env"};
  /** A worker that fails is made anew (health_policy.hpp). */
  bool restart_on_failure = true;
  /** A claimed or spawned worker of it that is idle for so long (idle_policy.hpp) is stopped; 0: never. */
  std::chrono::microseconds idle_timeout{0};
};

/** How many warm workers are kept, unless the pool was told otherwise later. */
struct PoolSettings {
  std::uint32_t min = 2;
  std::uint32_t max = 5;
  /** How long a worker that demand does not ask for is kept. */
  std::chrono::microseconds idle_timeout = std::chrono::seconds(300);
};

/** What the configuration decides about workers and their parent. */
struct Settings {
  /** Value of the label by which this daemon knows its own containers; two daemons at one engine need two. */
  std::string instance = "system";
  /** Sockets, one folder a worker below `worker/`. */
  std::string run_dir = "/run/hal9000";
  std::string state_dir = "/var/lib/hal9000";
  /** The static programs that are mounted into every worker. */
  std::string init_program;
  std::string relay_program;

  std::string default_profile = "base";
  std::map<std::string, Profile> profiles;
  /** What owners may, by uid; and those who are not named. */
  std::map<uid_t, policy::Grant> owners;
  policy::Grant other_owners;
  PoolSettings pool;

  std::string parent_image = "hal9000/parent";
  /** The engine network of the namespace holder: "bridge", "none" or a name. Never replaced by another silently. */
  std::string parent_network = "bridge";
  std::uint64_t parent_memory_bytes = std::uint64_t{64} << 20;
  std::uint64_t chroma_memory_bytes = std::uint64_t{2} << 30;
};

/** What the worker's servers and tools are bounded by: its profile and its owner. They live as long as the settings. */
[[nodiscard]] std::vector<const policy::Grant*> grants_of(const Settings& settings, const Worker& worker);
/** Whether all of these allow the server. */
[[nodiscard]] bool may_use(const std::vector<const policy::Grant*>& grants, std::string_view server);

}  // namespace hal::worker
