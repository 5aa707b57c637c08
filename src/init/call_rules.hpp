#pragma once

#include <cstdint>
#include <vector>

namespace hal::init {

enum class Rule {
  /** EPERM. */
  refused,
  /** ENOSYS: programs then go another way that has the same end. */
  absent,
  /** The mode in `argument` may have no set-user-id bit. */
  mode,
  /** Nor a set-group-id bit. */
  new_file_mode,
  /** The same, if the flags in the argument before say that a file is made. */
  open_mode,
  /** The flags in `argument` may ask for no new namespace. */
  same_namespaces,
  /** Family, type and protocol, the first three arguments, must be of local sockets, of TCP, UDP and ping, or of the
   *  netlink by which programs ask for network addresses. */
  plain_socket,
};

struct CallRule {
  std::uint32_t number;
  Rule rule;
  unsigned argument = 0;
};

/** Of the machine's own calls. */
[[nodiscard]] std::vector<CallRule> native_rules();
#if defined(__x86_64__)
/** Of 32-bit programs. */
[[nodiscard]] std::vector<CallRule> i386_rules();
#endif

}  // namespace hal::init
