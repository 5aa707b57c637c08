#pragma once

#include "base/unique_fd.hpp"

namespace hal::relay {

/** Makes a descriptor non-blocking for as long as it lives. A terminal is left alone: it is its shell's too. */
class NonBlocking {
 public:
  explicit NonBlocking(int fd);
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;
  ~NonBlocking();

 private:
  int fd_;
  int flags_;  ///< To be restored; -1 if nothing was changed.
};

/** Blocks SIGINT, SIGTERM and SIGHUP and gives a descriptor that is readable when one has come; ignores SIGPIPE. */
[[nodiscard]] UniqueFd open_end_signals();

}  // namespace hal::relay
