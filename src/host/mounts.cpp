#include "host/mounts.hpp"

#include "base/limits.hpp"
#include "base/names.hpp"
#include "base/text.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <iterator>
#include <string_view>
#include <tuple>

#include <fmt/format.h>

namespace hal::host {

namespace {

/** File systems that show the kernel's state; uids in them mean more than ownership of files. */
constexpr unsigned long kernel_file_systems[] = {
    PROC_SUPER_MAGIC, SYSFS_MAGIC,    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEVPTS_SUPER_MAGIC,
    SECURITYFS_MAGIC, DEBUGFS_MAGIC,  TRACEFS_MAGIC,      BPF_FS_MAGIC,        NSFS_MAGIC,
    SELINUX_MAGIC,    EFIVARFS_MAGIC, PSTOREFS_MAGIC,     BINFMTFS_MAGIC};
/** The same by their names in mountinfo, and some without a public magic. */
constexpr std::string_view kernel_file_system_types[] = {
    "proc",      "sysfs",    "cgroup", "cgroup2", "devpts",   "securityfs",  "debugfs", "tracefs",    "bpf",   "nsfs",
    "selinuxfs", "efivarfs", "pstore", "mqueue",  "configfs", "binfmt_misc", "fusectl", "rpc_pipefs", "autofs"};

bool is_kernel_file_system(int fd) {
  struct statfs status {};
  return ::fstatfs(fd, &status) == 0 &&
         std::find(std::begin(kernel_file_systems), std::end(kernel_file_systems),
                   static_cast<unsigned long>(status.f_type)) != std::end(kernel_file_systems);
}

Error open_error(const std::string& path, int errno_value) {
  switch (errno_value) {
    case ENOTDIR:
      return {Errc::invalid_argument, path + ": is not a directory, or a part of the path is none"};
    case ELOOP:
      return {Errc::invalid_argument, path + ": has too many symbolic links"};
    case ENAMETOOLONG:
      return {Errc::invalid_argument, path + ": is too long"};
    case ENOENT:
      return {Errc::not_found, path + ": there is no such directory"};
    default:
      return errno_error(path, errno_value);
  }
}

struct MountsBelow {
  bool any = false;
  bool kernel = false;
};

/** Bounded: a host has some hundred mounts; the rest counts as unknown, hence as not to be taken along. */
constexpr std::size_t max_mountinfo_bytes = std::size_t{4} << 20;

/** Undoes the \ooo escapes of mountinfo. */
std::string unescape(std::string_view field) {
  std::string result;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const auto digit = [&](std::size_t at) { return field[i + at] - '0'; };
    if (field[i] == '\\' && i + 3 < field.size()) {
      result += static_cast<char>(digit(1) * 64 + digit(2) * 8 + digit(3));
      i += 3;
    } else {
      result += field[i];
    }
  }
  return result;
}

/** The mounts whose mount point lies below `real_path`. */
MountsBelow mounts_below(const std::string& real_path, std::string_view info) {
  const std::string prefix = real_path == "/" ? "/" : real_path + "/";
  MountsBelow result;
  result.kernel = info.size() > max_mountinfo_bytes;
  for (const auto line : text::split(info, '\n')) {
    // id parent major:minor root POINT options… - TYPE source options
    const auto front = text::split(line, ' ');
    const auto dash = line.find(" - ");
    if (front.size() < 5 || dash == std::string_view::npos) {
      continue;
    }
    const auto point = unescape(front[4]);
    if (point.size() > prefix.size() && point.starts_with(prefix)) {
      const auto type = text::split(line.substr(dash + 3), ' ')[0];
      result.any = true;
      result.kernel |= std::find(std::begin(kernel_file_system_types), std::end(kernel_file_system_types), type) !=
                       std::end(kernel_file_system_types);
    }
  }
  return result;
}

Result<UniqueFd> open_clone(int directory, const std::string& real_path, bool recursive) {
  const unsigned flags =
      AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? unsigned{AT_RECURSIVE} : 0U);
  UniqueFd tree(::open_tree(directory, "", flags));
  if (tree) {
    return tree;
  }
  if (errno == EINVAL) {
    return Error{Errc::invalid_argument, real_path + ": is not mounted where HAL-9000 can see it"};
  }
  return errno_error("open_tree " + real_path);
}

Result<void> set_attributes(int tree, bool recursive, mount_attr attributes) {
  const unsigned flags = AT_EMPTY_PATH | (recursive ? unsigned{AT_RECURSIVE} : 0U);
  if (::mount_setattr(tree, "", flags, &attributes, sizeof attributes) != 0) {
    return errno_error("mount_setattr");
  }
  return {};
}

struct Attempt {
  UniqueFd tree;
  Result<void> mapped;
};

/** `user_namespace` -1: no mapping is asked for. */
Result<Attempt> clone_once(int directory, const std::string& real_path, bool recursive, bool read_only,
                           int user_namespace) {
  auto tree = open_clone(directory, real_path, recursive);
  if (!tree) {
    return tree.error();
  }
  mount_attr attributes{};
  attributes.attr_set =
      __u64{MOUNT_ATTR_NOSUID} | __u64{MOUNT_ATTR_NODEV} | (read_only ? __u64{MOUNT_ATTR_RDONLY} : 0U);
  if (auto done = set_attributes(tree->get(), recursive, attributes); !done) {
    return done.error().with(real_path);
  }
  Attempt attempt{*std::move(tree), {}};
  if (user_namespace >= 0) {
    mount_attr mapping{};
    mapping.attr_set = MOUNT_ATTR_IDMAP;
    mapping.userns_fd = static_cast<__u64>(user_namespace);
    attempt.mapped = set_attributes(attempt.tree.get(), recursive, mapping);
  }
  return attempt;
}

Result<void> write_file(const std::string& path, const std::string& text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return errno_error(path);
  }
  return {};
}

/** Users whose mapping is kept: a descriptor each. */
constexpr std::size_t max_kept_maps = 32;

/** The process that lends its user namespace; killed and reaped at the end. */
class NamespaceHolder {
 public:
  static Result<UniqueFd> run(const UserRights& rights) {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) {
      return errno_error("pipe2");
    }
    UniqueFd ready_read(ready[0]);
    UniqueFd ready_write(ready[1]);
    const pid_t pid = ::fork();
    if (pid < 0) {
      return errno_error("fork");
    }
    if (pid == 0) {
      hold(ready_write.get());
    }
    ready_write.reset();
    const NamespaceHolder holder(pid);
    int error = 0;
    if (::read(ready_read.get(), &error, sizeof error) != sizeof error || error != 0) {
      return errno_error("a user namespace", error != 0 ? error : EIO);
    }
    const auto folder = fmt::format("/proc/{}", pid);
    for (const auto& [name, id, inside] :
         {std::tuple{"uid_map", rights.uid, names::worker_uid}, std::tuple{"gid_map", rights.gid, names::worker_gid}}) {
      if (auto written = write_file(folder + "/" + name, fmt::format("{} {} 1\n", id, inside)); !written) {
        return written.error();
      }
    }
    UniqueFd fd(::open((folder + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
      return errno_error(folder + "/ns/user");
    }
    return fd;
  }

 private:
  explicit NamespaceHolder(pid_t pid) : pid_(pid) {}
  ~NamespaceHolder() {
    ::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
  NamespaceHolder(const NamespaceHolder&) = delete;
  NamespaceHolder& operator=(const NamespaceHolder&) = delete;

  [[noreturn]] static void hold(int ready) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int error = ::unshare(CLONE_NEWUSER) == 0 ? 0 : errno;
    (void)!::write(ready, &error, sizeof error);
    for (;;) {
      ::pause();
    }
  }

  pid_t pid_;
};

bool ended(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, 0) != 0;
}

}  // namespace

std::string read_mountinfo() {
  std::string text;
  const UniqueFd fd(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  char buffer[16384];
  ssize_t bytes = 0;
  while (fd && text.size() <= max_mountinfo_bytes && (bytes = ::read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  return text;
}

Result<UniqueFd> open_directory(const std::string& path, int directory, const UserRights& rights) {
  const std::string shown = path.empty() ? "the directory" : path;
  if (!path.empty() && (path.front() != '/' || path.size() > limits::path_bytes)) {
    return Error{Errc::invalid_argument, shown + ": must be an absolute path"};
  }
  const ActAs user(rights);
  if (!user.taken()) {
    return user.taken().error();
  }
  UniqueFd fd(path.empty() ? ::openat(directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC)
                           : ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    return open_error(shown, errno);
  }
  // Both rights that are needed to see a project: the search right by the ".", the right to read by the open.
  if (const UniqueFd readable(::openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK)); !readable) {
    return open_error(shown, errno);
  }
  return fd;
}

Result<std::string> path_of(int directory) {
  struct stat status {};
  std::array<char, PATH_MAX + 1> buffer{};
  if (::fstat(directory, &status) != 0 ||
      ::readlink(fmt::format("/proc/self/fd/{}", directory).c_str(), buffer.data(), buffer.size() - 1) < 0) {
    return errno_error("the directory's path");
  }
  if (status.st_nlink == 0) {
    return Error{Errc::not_found, fmt::format("{}: was removed", buffer.data())};
  }
  return std::string(buffer.data());
}

Result<UniqueFd> mapping_namespace(const UserRights& rights) {
  return NamespaceHolder::run(rights);
}

const Result<UniqueFd>& IdMaps::of(const UserRights& rights) {
  const Ids ids(rights.uid, rights.gid);
  auto found = known_.find(ids);
  if (found == known_.end()) {
    found = known_.emplace(ids, mapping_namespace(rights)).first;
    fresh_.insert(ids);
  }
  return found->second;
}

std::map<IdMaps::Ids, UniqueFd> IdMaps::fresh() const {
  std::map<Ids, UniqueFd> made;
  for (const auto& ids : fresh_) {
    if (const auto& map = known_.at(ids)) {
      made.emplace(ids, map->duplicate());
    }
  }
  return made;
}

void IdMaps::keep(Ids ids, UniqueFd user_namespace) {
  if (known_.size() >= max_kept_maps) {
    known_.clear();
  }
  known_.insert_or_assign(ids, std::move(user_namespace));
}

std::vector<int> IdMaps::descriptors() const {
  std::vector<int> fds;
  for (const auto& [ids, map] : known_) {
    if (map) {
      fds.push_back(map->get());
    }
  }
  return fds;
}

Result<Clone> clone_directory(int directory, const std::string& real_path, const UserRights& rights, bool read_only,
                              std::string_view mountinfo, IdMaps& id_maps) {
  if (is_kernel_file_system(directory)) {
    return Error{Errc::invalid_argument, real_path + ": is a file system of the kernel, no place for a project"};
  }
  const auto below = mounts_below(real_path, mountinfo);
  const bool to_map = rights.uid != names::worker_uid || rights.gid != names::worker_gid;
  const Result<UniqueFd> no_mapping = UniqueFd();
  const auto& user_namespace = to_map ? id_maps.of(rights) : no_mapping;
  const int mapping = user_namespace ? user_namespace->get() : -1;
  bool recursive = below.any && !below.kernel;
  auto attempt = clone_once(directory, real_path, recursive, read_only, mapping);
  if (attempt && !attempt->mapped && recursive) {
    recursive = false;
    attempt = clone_once(directory, real_path, recursive, read_only, mapping);
  }
  if (!attempt) {
    return attempt.error();
  }
  std::string note;
  if (!user_namespace || !attempt->mapped) {
    note = "ids are not mapped: " + (user_namespace ? attempt->mapped.error() : user_namespace.error()).message;
  }
  if (below.any && !recursive) {
    note += note.empty() ? "" : "; ";
    note += below.kernel ? "what is mounted below it is left out, for some of it is the kernel's"
                         : "what is mounted below it is left out, for not all of it can be mapped";
  }
  return Clone{std::move(attempt->tree), user_namespace.has_value() && attempt->mapped.has_value(), note};
}

Result<void> enter_container(pid_t pid, int pidfd) {
  // Opened while the pidfd says that the process lives, hence its own.
  const UniqueFd root(::open(fmt::format("/proc/{}/root", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const int root_errno = errno;
  if (ended(pidfd)) {
    return Error{Errc::unavailable, fmt::format("process {} has ended", pid)};
  }
  if (!root) {
    return errno_error(fmt::format("/proc/{}/root", pid), root_errno);
  }
  if (::setns(pidfd, CLONE_NEWNS) != 0) {
    return errno_error(fmt::format("the mount namespace of process {}", pid));
  }
  if (::fchdir(root.get()) != 0 || ::chroot(".") != 0) {
    return errno_error(fmt::format("the root directory of process {}", pid));
  }
  return {};
}

Result<void> attach(int tree, const std::string& target) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const UniqueFd place(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, target.c_str(), &how, sizeof how)));
  if (!place) {
    return errno == ELOOP ? Error{Errc::invalid_argument, target + ": is a symbolic link in the container"}
                          : open_error(target, errno).with("in the container");
  }
  if (::move_mount(tree, "", place.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return errno_error("move_mount to " + target);
  }
  return {};
}

void detach(const std::string& target) noexcept {
  (void)::umount2(target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

}  // namespace hal::host
