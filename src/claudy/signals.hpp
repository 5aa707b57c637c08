#pragma once

#include <signal.h>

#include <initializer_list>

namespace hal::claudy {

/** Blocks signals for its life, so that a loop can take them. */
class BlockedSignals {
 public:
  explicit BlockedSignals(std::initializer_list<int> signals);
  ~BlockedSignals();
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

/** Ignores SIGPIPE for its life: writes fail instead, and what is to be put in order still can be. */
class IgnoredSigpipe {
 public:
  IgnoredSigpipe();
  ~IgnoredSigpipe();
  IgnoredSigpipe(const IgnoredSigpipe&) = delete;
  IgnoredSigpipe& operator=(const IgnoredSigpipe&) = delete;

 private:
  struct sigaction before_ {};
};

}  // namespace hal::claudy
