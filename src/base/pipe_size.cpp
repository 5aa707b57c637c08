#include "base/pipe_size.hpp"

#include <fcntl.h>

namespace hal {

bool enlarge_pipe(int fd) noexcept {
  constexpr int most_bytes = 1 << 20;  // default of /proc/sys/fs/pipe-max-size
  const int bytes = ::fcntl(fd, F_GETPIPE_SZ);
  return bytes > 0 && bytes < most_bytes && ::fcntl(fd, F_SETPIPE_SZ, most_bytes) >= most_bytes;
}

}  // namespace hal
