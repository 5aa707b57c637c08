#include "relay/process_io.hpp"

#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
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

namespace {

/** Of the first object, which is the program, the segments nothing is ever written to. */
int drop_pages(dl_phdr_info* object, std::size_t, void*) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type == PT_LOAD && (segment.p_flags & PF_W) == 0) {
      const auto begin = (object->dlpi_addr + segment.p_vaddr) / page * page;
      const auto end = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
      // NOLINTNEXTLINE(performance-no-int-to-ptr): program headers give addresses as numbers
      (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
  }
  return 1;
}

}  // namespace

void drop_startup_pages() {
  (void)::dl_iterate_phdr(drop_pages, nullptr);
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
