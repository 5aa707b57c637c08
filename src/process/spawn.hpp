#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

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

/** A child on its way to becoming the program. */
struct Forked {
  pid_t pid = 0;
  /** Readable when it has become the program, or cannot: see read_report(). */
  UniqueFd report;
};

/** The child as leader of a new session, hence of its own process group. SIGCHLD must be blocked by the caller. */
[[nodiscard]] Result<Forked> fork_program(const SpawnSpec& spec);

/** Waits for the report. An error names the failed step and `program`; then the child is ending. */
[[nodiscard]] Result<void> read_report(const Forked& child, const std::string& program);

/**
 * fork_program() and the wait for execve, which on a file system that hangs takes as long as that: for programs of our
 * own. All others are started by Start.
 */
[[nodiscard]] Result<pid_t> spawn(const SpawnSpec& spec);

}  // namespace hal::process
