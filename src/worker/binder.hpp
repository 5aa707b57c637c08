#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace hal::worker {

/** A directory to be seen in a worker, opened and ready: a detached clone of its mount. */
struct DetachedMount {
  /** From open_tree(OPEN_TREE_CLONE), attributes and id mapping already set. Closing it unmounts. */
  UniqueFd tree;
  /** Where the directory really was when it was opened. */
  std::string real_path;
  /**
   * Whether the user's uid and gid appear as the worker's, or, where root uses somebody's directory, its owner's. If
   * not, the worker's programs must run as the user.
   */
  bool mapped = false;
  /** The primary group of the user whose rights were used. */
  gid_t group = 0;
};

/** What the worker folder needs of mounts and namespaces; `host` implements it with forked children. */
class Binder {
 public:
  virtual ~Binder() = default;

  struct OpenRequest {
    /** What errors call it: "workspace". */
    std::string what;
    /** Whose rights are used: uid, primary and supplementary groups of this user. */
    uid_t user = 0;
    /** An absolute path; or, if empty, `directory` (held by the caller of the call, must stay open until done). */
    std::string path;
    int directory = -1;
    bool read_only = false;
    /** Makes the last part of `path`, mode 0700 and owned by the user, where it does not exist yet. Its parent must be
     *  a directory only root can write to. */
    bool create = false;
    /** Brings the user's Claude settings from their home on the host into this one. What cannot be is left out, and the
     *  log says so. */
    bool inherit = false;
  };
  /**
   * Opens directories with their users' rights and clones them with all mounts below them: all, in this order, or none.
   * Errors name the path: not_found, denied, invalid_argument (not a directory, not absolute), timed_out (a file system
   * that hangs).
   */
  virtual void open(std::vector<OpenRequest> requests, Done<std::vector<DetachedMount>> done) = 0;

  struct Placement {
    UniqueFd tree;
    std::string target;
  };
  /** Moves the mounts onto existing directories in the mount namespace of the container with this PID 1. */
  virtual void place(pid_t container_pid, std::vector<Placement> placements, Done<void> done) = 0;
};

}  // namespace hal::worker
