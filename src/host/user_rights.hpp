#pragma once

#include "base/result.hpp"

#include <sys/types.h>

#include <string>
#include <vector>

namespace hal::host {

/** With whose rights a file is opened, and whose files a worker makes. */
struct UserRights {
  uid_t uid = 0;
  gid_t gid = 0;
  /** The primary one included. */
  std::vector<gid_t> groups;
  /** Where the user is at home; empty for a uid without an entry. */
  std::string home = {};
};

/**
 * From the user database; may block on it, so call it in a child. A uid without an entry has no supplementary groups,
 * and as primary group the one of its own number or, where that belongs to a group with a name, nogroup: it must never
 * get a group that somebody else relies on.
 */
[[nodiscard]] UserRights rights_of(uid_t uid);

/**
 * Takes a user's rights for the file system as effective ids, which also puts all capabilities aside, and returns to
 * root's at the end. Only in a child with one thread.
 */
class ActAs {
 public:
  explicit ActAs(const UserRights& rights);
  ~ActAs();
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;

  /** Nothing may be done in the user's name unless this holds. */
  [[nodiscard]] const Result<void>& taken() const noexcept { return taken_; }

 private:
  Result<void> taken_;
};

}  // namespace hal::host
