#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "host/user_rights.hpp"

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/** Steps of late binding. All block and change the calling process, so they run in forked children only. */
namespace hal::host {

/**
 * Opens a directory (an absolute path, or, if that is empty, one that is open already) with the user's rights; it must
 * be one the user may list and enter. The result is good for cloning only (O_PATH).
 */
[[nodiscard]] Result<UniqueFd> open_directory(const std::string& path, int directory, const UserRights& rights);

/** The path an open directory has at this moment; not_found if it was removed. */
[[nodiscard]] Result<std::string> path_of(int directory);

/** A user namespace in which `rights`' ids stand for the worker's, as mount_setattr wants it. */
[[nodiscard]] Result<UniqueFd> mapping_namespace(const UserRights& rights);

/**
 * The mapping namespaces of users, each made once: it takes a process of its own. A task in a child makes what is
 * missing; the parent keeps it for later tasks.
 */
class IdMaps {
 public:
  using Ids = std::pair<uid_t, gid_t>;

  [[nodiscard]] const Result<UniqueFd>& of(const UserRights& rights);
  /** What of() has made here. */
  [[nodiscard]] std::map<Ids, UniqueFd> fresh() const;
  void keep(Ids ids, UniqueFd user_namespace);
  [[nodiscard]] std::vector<int> descriptors() const;

 private:
  std::map<Ids, Result<UniqueFd>> known_;
  std::set<Ids> fresh_;
};

/** All mounts this process sees. */
[[nodiscard]] std::string read_mountinfo();

struct Clone {
  UniqueFd tree;
  /** Ids were mapped as asked for. */
  bool mapped = false;
  /** What a log should say about it, or empty. */
  std::string note;
};

/**
 * A detached copy of the mount at `directory` with those below it, nosuid and nodev, read-only if asked for. `rights`'
 * uid and gid are seen as the worker's, where kernel and file systems can do that; `real_path` is for messages,
 * `mountinfo` what read_mountinfo() gave.
 *
 * Mounts below are left out where they cannot be mapped or are no file systems for files (proc, sysfs, …): seen with
 * the worker's uid those would show what belongs to somebody else. Such a file system itself is refused.
 */
[[nodiscard]] Result<Clone> clone_directory(int directory, const std::string& real_path, const UserRights& rights,
                                            bool read_only, std::string_view mountinfo, IdMaps& id_maps);

/** Enters the mount namespace and the root directory of a process. `pidfd` was opened when `pid` was known to be it. */
[[nodiscard]] Result<void> enter_container(pid_t pid, int pidfd);

/**
 * Moves a detached mount onto an existing directory of the root entered before. No part of `target` may be a symbolic
 * link, for those are the worker's to change.
 */
[[nodiscard]] Result<void> attach(int tree, const std::string& target);

/** Takes away what attach put there. */
void detach(const std::string& target) noexcept;

}  // namespace hal::host
