#include "install/tree.hpp"

#include "base/unique_fd.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include <fmt/format.h>

namespace hal::install {

namespace {

/** Deeper than any tree of packages, far from the limit of descriptors. */
constexpr std::size_t max_depth = 128;

struct Entry {
  std::string name;
  bool is_directory = false;
};

Result<UniqueFd> open_directory(int parent, const std::string& name) {
  UniqueFd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  return fd ? Result<UniqueFd>(std::move(fd)) : errno_error(name);
}

Result<std::vector<Entry>> list(int directory) {
  const int copy = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> handle(copy < 0 ? nullptr : ::fdopendir(copy), ::closedir);
  if (!handle) {
    return errno_error("readdir");
  }
  std::vector<Entry> entries;
  while (const dirent* entry = ::readdir(handle.get())) {
    const std::string name = entry->d_name;
    struct stat status {};
    if (name == "." || name == "..") {
      continue;
    }
    if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return errno_error(name);
    }
    entries.push_back({name, S_ISDIR(status.st_mode)});
  }
  return entries;
}

/** A directory is ours before its entries are looked at: from then on nobody else changes them. */
Result<void> take(int fd, const std::string& name) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || ::fchown(fd, ::geteuid(), ::getegid()) != 0) {
    return errno_error(name);
  }
  const bool execute = S_ISDIR(status.st_mode) || (status.st_mode & S_IXUSR) != 0;
  return ::fchmod(fd, execute ? 0755 : 0644) == 0 ? Result<void>() : errno_error(name);
}

Result<void> seal_file(int directory, const std::string& name) {
  const UniqueFd fd(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (fd) {
    return take(fd.get(), name);
  }
  // A link: nothing is behind it that would not be reached by itself. Sockets and such have no use.
  return errno == ELOOP && ::fchownat(directory, name.c_str(), ::geteuid(), ::getegid(), AT_SYMLINK_NOFOLLOW) == 0
             ? Result<void>()
             : errno_error(name);
}

Result<void> seal(int directory, std::size_t depth) {
  const auto entries = depth < max_depth ? list(directory) : Error{Errc::limit, "is nested too deep"};
  if (!entries) {
    return entries.error();
  }
  for (const auto& entry : *entries) {
    if (!entry.is_directory) {
      if (auto done = seal_file(directory, entry.name); !done) {
        return done;
      }
      continue;
    }
    const auto inner = open_directory(directory, entry.name);
    if (!inner) {
      return inner.error();
    }
    auto done = take(inner->get(), entry.name);
    if (done) {
      done = seal(inner->get(), depth + 1);
    }
    if (!done) {
      return done.error().with(entry.name);
    }
  }
  return {};
}

Result<void> remove_entries(int directory, std::size_t depth) {
  const auto entries = depth < max_depth ? list(directory) : Error{Errc::limit, "is nested too deep"};
  if (!entries) {
    return entries.error();
  }
  for (const auto& entry : *entries) {
    if (entry.is_directory) {
      if (::geteuid() != 0) {  // root may everything, and must not follow what the name may have become
        (void)::fchmodat(directory, entry.name.c_str(), 0700, 0);
      }
      const auto inner = open_directory(directory, entry.name);
      if (!inner) {
        return inner.error();
      }
      if (auto done = remove_entries(inner->get(), depth + 1); !done) {
        return done.error().with(entry.name);
      }
    }
    if (::unlinkat(directory, entry.name.c_str(), entry.is_directory ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT) {
      return errno_error(entry.name);
    }
  }
  return {};
}

}  // namespace

Result<void> seal_tree(const std::string& path) {
  const auto root = open_directory(AT_FDCWD, path);
  if (!root) {
    return root.error();
  }
  auto done = take(root->get(), path);
  if (done) {
    done = seal(root->get(), 0);
  }
  if (done && ::syncfs(root->get()) != 0) {  // before the configuration names it
    return errno_error(path);
  }
  return done ? done : done.error().with(path);
}

Result<void> remove_tree(const std::string& path) {
  const auto root = open_directory(AT_FDCWD, path);
  if (!root) {
    return root.error().code == Errc::not_found ? Result<void>() : root.error();
  }
  if (auto done = remove_entries(root->get(), 0); !done) {
    return done.error().with(path);
  }
  return ::rmdir(path.c_str()) == 0 ? Result<void>() : errno_error(path);
}

Result<void> sweep_generations(const std::string& root, const std::set<std::string>& keep) {
  const auto directory = open_directory(AT_FDCWD, root);
  if (!directory) {
    return directory.error().code == Errc::not_found ? Result<void>() : directory.error();
  }
  const auto names = list(directory->get());
  if (!names) {
    return names.error();
  }
  for (const auto& name : *names) {
    const auto folder = fmt::format("{}/{}", root, name.name);
    const auto inner = open_directory(directory->get(), name.name);
    const auto generations = inner ? list(inner->get()) : Result<std::vector<Entry>>(inner.error());
    if (!generations) {
      continue;  // nothing we have made
    }
    for (const auto& generation : *generations) {
      const auto path = fmt::format("{}/{}", folder, generation.name);
      if (generation.is_directory && !keep.contains(path)) {
        if (auto removed = remove_tree(path); !removed) {
          return removed;
        }
      }
    }
    (void)::rmdir(folder.c_str());  // if nothing is left
  }
  return {};
}

}  // namespace hal::install
