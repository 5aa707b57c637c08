#include "relay/process_io.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

namespace hal::relay {

namespace {

int unblock(int fd) {
  struct stat status {};
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) != 0 || ::fstat(fd, &status) < 0 || S_ISCHR(status.st_mode)) {
    return -1;
  }
  return ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -1 : flags;
}

}  // namespace

NonBlocking::NonBlocking(int fd) : fd_(fd), flags_(unblock(fd)) {}

NonBlocking::~NonBlocking() {
  if (flags_ >= 0) {
    ::fcntl(fd_, F_SETFL, flags_);
  }
}

UniqueFd open_end_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&set, number);
  }
  ::signal(SIGPIPE, SIG_IGN);
  UniqueFd fd(::sigprocmask(SIG_BLOCK, &set, nullptr) < 0 ? -1 : ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) {
    throw std::system_error(errno, std::system_category(), "signalfd");
  }
  return fd;
}

}  // namespace hal::relay
