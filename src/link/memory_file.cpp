#include "link/memory_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace hal::link {

namespace {

constexpr int all_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

}  // namespace

Result<UniqueFd> to_memory_file(std::string_view text) {
  UniqueFd fd(::memfd_create("hal9000-link", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) {
    return errno_error("memfd_create");
  }
  while (!text.empty()) {
    const ssize_t bytes = ::write(fd.get(), text.data(), text.size());
    if (bytes < 0) {
      return errno_error("write a memory file");
    }
    text.remove_prefix(static_cast<std::size_t>(bytes));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, all_seals) != 0) {
    return errno_error("seal a memory file");
  }
  return fd;
}

Result<std::string> from_memory_file(const UniqueFd& fd, std::size_t max_bytes) {
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & all_seals) != all_seals) {
    return Error{Errc::protocol, "a link message in a file that is not sealed"};
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    return errno_error("fstat");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > max_bytes) {
    return Error{Errc::limit, fmt::format("a link message of {} bytes", size)};
  }
  std::string text(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t bytes = ::pread(fd.get(), text.data() + done, size - done, static_cast<off_t>(done));
    if (bytes <= 0) {
      return errno_error("read a memory file");
    }
    done += static_cast<std::size_t>(bytes);
  }
  return text;
}

}  // namespace hal::link
