#include "host/user_rights.hpp"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>

namespace hal::host {

namespace {

constexpr gid_t nogroup = 65534;
/** As many as the kernel knows. */
constexpr int max_groups = 65536;

Result<void> take(const UserRights& rights) {
  // Groups first: they need root. The user last.
  if (::setgroups(rights.groups.size(), rights.groups.data()) != 0) {
    return errno_error("setgroups");
  }
  if (::setegid(rights.gid) != 0) {
    return errno_error("setegid");
  }
  if (::seteuid(rights.uid) != 0) {
    return errno_error("seteuid");
  }
  return {};
}

}  // namespace

UserRights rights_of(uid_t uid) {
  UserRights rights{uid, nogroup, {}, {}};
  const passwd* entry = ::getpwuid(uid);
  if (entry == nullptr) {
    if (::getgrgid(uid) == nullptr) {
      rights.gid = uid;
    }
    rights.groups = {rights.gid};
    return rights;
  }
  rights.gid = entry->pw_gid;
  rights.home = entry->pw_dir;
  int count = 64;
  do {
    rights.groups.resize(static_cast<std::size_t>(count));
  } while (::getgrouplist(entry->pw_name, entry->pw_gid, rights.groups.data(), &count) < 0 && count <= max_groups);
  rights.groups.resize(static_cast<std::size_t>(count));
  return rights;
}

ActAs::ActAs(const UserRights& rights) : taken_(take(rights)) {}

ActAs::~ActAs() {
  if (::seteuid(0) != 0 || ::setegid(0) != 0 || ::setgroups(0, nullptr) != 0) {
    ::_exit(EXIT_FAILURE);  // never go on half way
  }
  // The kernel clears both with every change of ids.
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)::prctl(PR_SET_DUMPABLE, 1);
}

}  // namespace hal::host
