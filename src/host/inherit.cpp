#include "host/inherit.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "host/claude_settings.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace hal::host {

namespace {

constexpr std::size_t max_file_bytes = std::size_t{256} << 10;
constexpr std::size_t max_bytes = std::size_t{8} << 20;
constexpr int max_files = 1000;
/** Entries of the worker's folders that have no original. */
constexpr int max_looks = 5000;
constexpr int max_depth = 8;
constexpr std::size_t max_note_bytes = 500;

constexpr std::array<const char*, 2> files = {"CLAUDE.md", "settings.json"};
constexpr std::array<const char*, 3> folders = {"agents", "commands", "skills"};
constexpr const char temporary[] = ".hal9000-copy";

constexpr int open_flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

struct Status {
  struct stat stat {};
  /** Or there is something, and what cannot be seen. */
  bool exists = false;

  [[nodiscard]] bool is_file() const { return exists && S_ISREG(stat.st_mode); }
  [[nodiscard]] bool is_folder() const { return exists && S_ISDIR(stat.st_mode); }
  [[nodiscard]] bool is_copy() const { return is_file() && stat.st_mtim.tv_nsec == copy_mark; }
};

/** Nothing exists in no folder (-1). */
Status status_of(int folder, const char* name) {
  Status status;
  status.exists = folder >= 0 && (::fstatat(folder, name, &status.stat, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT);
  return status;
}

UniqueFd open_folder(int folder, const char* name) {
  return UniqueFd(::openat(folder, name, O_RDONLY | O_DIRECTORY | open_flags));
}

/** The names in a folder, in order, without those that begin with a dot. */
std::vector<std::string> names_in(int folder) {
  std::vector<std::string> names;
  UniqueFd again(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(again ? ::fdopendir(again.get()) : nullptr, ::closedir);
  if (dir) {
    (void)again.release();
  }
  while (const dirent* entry =
             dir && names.size() <= static_cast<std::size_t>(max_files) ? ::readdir(dir.get()) : nullptr) {
    if (entry->d_name[0] != '.') {
      names.emplace_back(entry->d_name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Inheritance {
 public:
  std::string run(int host_home, int worker_home) {
    const UniqueFd from = open_folder(host_home, ".claude");
    if (!from) {
      if (errno != ENOENT) {
        leave_out(".claude", std::strerror(errno));
      }
      return note_;
    }
    const UniqueFd to = made_folder(worker_home, ".claude");
    if (!to) {
      leave_out("all of .claude", std::strerror(errno));
      return note_;
    }
    for (const char* name : files) {
      bring_file(from.get(), to.get(), name, name);
    }
    for (const char* name : folders) {
      bring_folder(from.get(), to.get(), name, name, 1);
    }
    return note_;
  }

 private:
  void leave_out(std::string_view path, std::string_view why) {
    if (note_.size() < max_note_bytes) {
      note_ += (note_.empty() ? "not inherited: " : ", ") + text::printable(path) + " (" + std::string(why) + ")";
    }
  }

  static UniqueFd made_folder(int parent, const char* name) {
    if (::mkdirat(parent, name, 0700) != 0 && errno != EEXIST) {
      return {};
    }
    return open_folder(parent, name);
  }

  /** An original in `from` may be missing, and so may its copy in `to`. */
  void bring_file(int from, int to, const char* name, const std::string& path) {
    const auto original = status_of(from, name);
    const auto copy = status_of(to, name);
    if (!original.exists) {
      if (copy.is_copy()) {
        (void)::unlinkat(to, name, 0);
      }
      return;
    }
    if (!original.is_file()) {
      return leave_out(path, S_ISLNK(original.stat.st_mode) ? "a link" : "no file");
    }
    const bool current = copy.is_copy() && copy.stat.st_mtim.tv_sec == original.stat.st_mtim.tv_sec;
    if (current || (copy.exists && !copy.is_copy())) {
      return;
    }
    auto text = read(from, name);
    if (text && path == "settings.json") {
      text = settings_for_worker(*text);
    }
    const auto written = text ? write(to, name, *text, original.stat) : Result<void>(text.error());
    if (!written) {
      leave_out(path, written.error().message);
    }
  }

  void bring_folder(int from, int to, const char* name, const std::string& path, int depth) {
    const auto original = status_of(from, name);
    if (!original.exists && !status_of(to, name).is_folder()) {
      return;
    }
    if (original.exists && !original.is_folder()) {
      return leave_out(path, S_ISLNK(original.stat.st_mode) ? "a link" : "no folder");
    }
    if (depth > max_depth) {
      return leave_out(path, "too deep");
    }
    const UniqueFd source = open_folder(from, name);
    if (original.exists && !source) {
      return leave_out(path, std::strerror(errno));
    }
    const UniqueFd target = original.exists ? made_folder(to, name) : open_folder(to, name);
    if (!target) {
      return leave_out(path, "what is in its place in the worker");
    }
    auto names = source ? names_in(source.get()) : std::vector<std::string>();
    for (auto& copied : names_in(target.get())) {
      if (++looks_ <= max_looks && !std::binary_search(names.begin(), names.end(), copied)) {
        bring_entry(source.get(), target.get(), copied, path, depth);  // whose original is gone
      }
    }
    for (const auto& entry : names) {
      if (++count_ > max_files) {
        return leave_out(path, "too many files");
      }
      bring_entry(source.get(), target.get(), entry, path, depth);
    }
    if (!source) {
      (void)::unlinkat(to, name, AT_REMOVEDIR);  // if nothing of the worker's is in it
    }
  }

  void bring_entry(int from, int to, const std::string& name, const std::string& folder, int depth) {
    const auto path = folder + "/" + name;
    const bool is_folder = status_of(from, name.c_str()).is_folder() || status_of(to, name.c_str()).is_folder();
    if (is_folder) {
      bring_folder(from, to, name.c_str(), path, depth + 1);
    } else {
      bring_file(from, to, name.c_str(), path);
    }
  }

  Result<std::string> read(int folder, const char* name) {
    const UniqueFd file(::openat(folder, name, O_RDONLY | open_flags));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0) {
      return Error{Errc::denied, std::strerror(errno)};
    }
    if (!S_ISREG(status.st_mode)) {
      return Error{Errc::protocol, "no file"};
    }
    std::string text(max_file_bytes + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
      const auto count = ::read(file.get(), text.data() + size, text.size() - size);
      if (count < 0) {
        return Error{Errc::denied, std::strerror(errno)};
      }
      if (count == 0) {
        break;
      }
      size += static_cast<std::size_t>(count);
    }
    bytes_ += size;
    if (size > max_file_bytes || bytes_ > max_bytes) {
      return Error{Errc::limit, size > max_file_bytes ? "larger than 256 KiB" : "more than 8 MiB in all"};
    }
    text.resize(size);
    return text;
  }

  /** Beside the old one and renamed over it. */
  static Result<void> write(int folder, const char* name, std::string_view text, const struct stat& original) {
    (void)::unlinkat(folder, temporary, 0);
    const UniqueFd file(::openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | open_flags, 0600));
    const timespec times[] = {{0, UTIME_OMIT}, {original.st_mtim.tv_sec, copy_mark}};
    if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::fchmod(file.get(), 0600 | (original.st_mode & 0111)) != 0 || ::futimens(file.get(), times) != 0 ||
        ::renameat(folder, temporary, folder, name) != 0) {
      const std::string why = std::strerror(errno);
      (void)::unlinkat(folder, temporary, 0);
      return Error{Errc::internal, why};
    }
    return {};
  }

  std::string note_;
  std::size_t bytes_ = 0;
  int count_ = 0;
  int looks_ = 0;
};

}  // namespace

std::string inherit_settings(int host_home, int worker_home) {
  return Inheritance().run(host_home, worker_home);
}

}  // namespace hal::host
