#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace hal {

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void UniqueFd::reset() noexcept {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
}

UniqueFd UniqueFd::duplicate() const noexcept {
  return UniqueFd(::fcntl(fd_, F_DUPFD_CLOEXEC, 3));
}

}  // namespace hal
