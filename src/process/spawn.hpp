#pragma once

#include "base/result.hpp"

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hal::process {

/** A program to start. Nothing is inherited but what stands here: fds, environment and signal mask are clean. */
struct SpawnSpec {
  /** argv[0] is looked up in the PATH of `env` unless it has a slash. */
  std::vector<std::string> argv;
  /** "NAME=value" */
  std::vector<std::string> env;
  /** Entered with the rights of `user`. Empty: "/". */
  std::string cwd;
  /** {number in the child, below 64; descriptor here}; 0, 1 and 2 that are not named become /dev/null. */
  std::vector<std::pair<int, int>> fds;
  /** User and group to run as, without supplementary groups; needs root. */
  std::optional<std::pair<uid_t, gid_t>> user;
  /** A network namespace to enter first (an open /proc/PID/ns/net), -1 for none. */
  int network_namespace = -1;
  /** A network namespace of its own, with nothing but a loopback that is down. */
  bool private_network = false;
  /** The kernel kills the child when we die, however we die. */
  bool die_with_parent = true;
};

/**
 * Starts the program as leader of a new session, hence of its own process group. Answers when execve succeeded;
 * otherwise the error names the failed step and argv[0]. SIGCHLD must be blocked by the caller.
 */
[[nodiscard]] Result<pid_t> spawn(const SpawnSpec& spec);

}  // namespace hal::process
