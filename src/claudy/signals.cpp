#include "claudy/signals.hpp"

#include "base/error.hpp"

namespace hal::claudy {

BlockedSignals::BlockedSignals(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : signals) {
    ::sigaddset(&set, signal);
  }
  if (::sigprocmask(SIG_BLOCK, &set, &before_) != 0) {
    throw_errno("sigprocmask");
  }
}

BlockedSignals::~BlockedSignals() {
  (void)::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

IgnoredSigpipe::IgnoredSigpipe() {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;  // NOLINT(performance-no-int-to-ptr): the macro is the C library's
  if (::sigaction(SIGPIPE, &ignore, &before_) != 0) {
    throw_errno("sigaction(SIGPIPE)");
  }
}

IgnoredSigpipe::~IgnoredSigpipe() {
  (void)::sigaction(SIGPIPE, &before_, nullptr);
}

}  // namespace hal::claudy
