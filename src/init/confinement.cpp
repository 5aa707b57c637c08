#include "init/confinement.hpp"

#include "base/unique_fd.hpp"
#include "init/call_filter.hpp"
#include "init/epoll.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace hal::init {

namespace {

/** landlock_ruleset_attr and a flag of it, which are newer than the headers of Debian 12. */
struct LandlockRules {
  std::uint64_t files;
  std::uint64_t network;
  std::uint64_t scopes;
};
constexpr std::uint64_t scope_abstract_unix_socket = 1;

/** Older kernels answer with an error, and so does the profile of an older engine: nobody depends on it alone. */
void keep_to_own_abstract_sockets() {
  const LandlockRules rules{0, 0, scope_abstract_unix_socket};
  const UniqueFd rule_set(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0)));
  if (rule_set) {
    (void)::syscall(SYS_landlock_restrict_self, rule_set.get(), 0);
  }
}

}  // namespace

void confine() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    throw_system_error("prctl");
  }
  keep_to_own_abstract_sockets();
  auto filter = call_filter();
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    throw_system_error("seccomp");
  }
}

}  // namespace hal::init
