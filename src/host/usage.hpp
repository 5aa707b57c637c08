#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hal::host {

/** What a control group uses; 0 where the controller is absent. */
struct Usage {
  std::uint64_t memory_bytes = 0;
  /** Of these, copies of files: the kernel takes them back when they are in the way. */
  std::uint64_t file_bytes = 0;
  std::uint64_t cpu_nanoseconds = 0;
  std::uint64_t tasks = 0;
};

/** A mounted control group hierarchy. */
struct CgroupMount {
  std::string point;
  /** The group the mount shows at its top; "/" but in containers. */
  std::string root;
  /** Empty for version 2. */
  std::vector<std::string> controllers;
};

/** The hierarchies of a /proc/self/mountinfo. */
[[nodiscard]] std::vector<CgroupMount> parse_cgroup_mounts(std::string_view mountinfo);
/**
 * The folder of the group a process is in, from its /proc/PID/cgroup; empty if it is in none with this controller.
 * Version 1 where it has the controller, else version 2.
 */
[[nodiscard]] std::string cgroup_folder(const std::vector<CgroupMount>& mounts, std::string_view process_cgroup,
                                        std::string_view controller, bool& version_1);

/** How often a fork was refused, by a pids.events. */
[[nodiscard]] std::uint64_t refused_forks(const std::string& pids_events);

/** Reads the usage of processes' control groups, version 1, 2 or both; five small files a time. */
class UsageReader {
 public:
  UsageReader();
  /** Zeros if there is no such process. */
  [[nodiscard]] Usage read(pid_t pid) const;
  /** The file that counts refused forks in the process' group; empty if there is none. `tells`: as changes of it. */
  [[nodiscard]] std::string pids_events(pid_t pid, bool& tells) const;
  /** Whose tasks are the most in the process' group, for people: "sleep (97 of 100)"; empty if that cannot be told. */
  [[nodiscard]] std::string busiest_program(pid_t pid) const;

 private:
  std::vector<CgroupMount> mounts_;
};

}  // namespace hal::host
