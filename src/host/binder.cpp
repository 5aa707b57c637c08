#include "host/binder.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "host/mounts.hpp"
#include "host/pidfd.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace hal::host {

namespace {

using process::TaskOutput;

/** First byte of an opened directory's text; then the user's group, the path and a note for the log, each after a zero
 * byte. */
constexpr char mapped_mark = 'm';
constexpr char unmapped_mark = 'u';

/** With root's rights, as OpenRequest::create says; its parent directory is root's alone. */
Result<void> make_directory(const std::string& path, const UserRights& rights) {
  if (::mkdir(path.c_str(), 0700) != 0) {
    return errno == EEXIST ? Result<void>() : errno_error("mkdir " + path);
  }
  return ::lchown(path.c_str(), rights.uid, rights.gid) == 0 ? Result<void>() : errno_error("chown " + path);
}

/**
 * Whose ids appear as the worker's: the user's. Root may use everybody's directories, and there the owner's, so that
 * what an agent makes in somebody's project belongs to them and never to root.
 */
Result<UserRights> owner_in_worker(const UserRights& user, int directory) {
  struct stat status {};
  if (::fstat(directory, &status) != 0) {
    return errno_error("fstat");
  }
  return user.uid == 0 && status.st_uid != 0 ? rights_of(status.st_uid) : user;
}

Result<TaskOutput> open_in_child(const worker::Binder::OpenRequest& request) {
  const auto rights = rights_of(request.user);
  if (request.create) {
    if (auto made = make_directory(request.path, rights); !made) {
      return made.error();
    }
  }
  const auto directory = open_directory(request.path, request.directory, rights);
  if (!directory) {
    return directory.error();
  }
  const auto real_path = path_of(directory->get());
  if (!real_path) {
    return real_path.error();
  }
  const auto owner = owner_in_worker(rights, directory->get());
  if (!owner) {
    return owner.error().with(*real_path);
  }
  auto clone = clone_directory(directory->get(), *real_path, *owner, request.read_only);
  if (!clone) {
    return clone.error();
  }
  if (owner->uid == 0 && clone->mapped && !request.create) {
    clone->note += clone->note.empty() ? "" : "; ";
    clone->note += "what agents make there belongs to root";
  }
  TaskOutput output;
  output.fds.push_back(std::move(clone->tree));
  output.text = clone->mapped ? mapped_mark : unmapped_mark;
  output.text += std::to_string(rights.gid) + '\0' + *real_path + '\0' + clone->note;
  return output;
}

Result<worker::DetachedMount> decode(Result<TaskOutput> output) {
  if (!output) {
    return output.error();
  }
  const auto parts = text::split(output->text, '\0');
  const auto group = text::to_number<gid_t>(parts.front().substr(std::min<std::size_t>(1, parts.front().size())));
  if (output->fds.size() != 1 || parts.size() != 3 || !group) {
    return Error{Errc::internal, "the answer of a child has no mount"};
  }
  worker::DetachedMount mount;
  mount.tree = std::move(output->fds.front());
  mount.mapped = output->text.front() == mapped_mark;
  mount.group = *group;
  mount.real_path = parts[1];
  if (!parts[2].empty()) {
    log::info({}, "{}: {}", text::printable(mount.real_path), parts[2]);
  }
  return mount;
}

Result<TaskOutput> place_in_child(pid_t pid, int pidfd, const std::vector<worker::Binder::Placement>& placements) {
  if (auto entered = enter_container(pid, pidfd); !entered) {
    return entered.error();
  }
  for (std::size_t i = 0; i < placements.size(); ++i) {
    if (auto attached = attach(placements[i].tree.get(), placements[i].target); !attached) {
      while (i-- > 0) {
        detach(placements[i].target);
      }
      return attached.error();
    }
  }
  return TaskOutput{};
}

}  // namespace

MountBinder::MountBinder(event::Loop& loop) : tasks_(loop) {}

void MountBinder::open(const OpenRequest& request, Done<worker::DetachedMount> done) {
  const auto shown = request.path.empty() ? std::string("the directory") : text::printable(request.path);
  tasks_.run(
      "opening " + shown, [&request] { return open_in_child(request); },
      [done = std::move(done)](Result<TaskOutput> output) { done(decode(std::move(output))); }, {request.directory});
}

void MountBinder::place(pid_t container_pid, std::vector<Placement> placements, Done<void> done) {
  // Before anything else can happen to the process; the child has a copy of all.
  const UniqueFd pidfd = open_pidfd(container_pid);
  std::vector<int> keep = {pidfd.get()};
  for (const auto& placement : placements) {
    keep.push_back(placement.tree.get());
  }
  tasks_.run(
      fmt::format("mounting into the container of process {}", container_pid),
      [container_pid, fd = pidfd.get(), &placements]() -> Result<TaskOutput> {
        if (fd < 0) {
          return Error{Errc::unavailable, fmt::format("there is no process {}", container_pid)};
        }
        return place_in_child(container_pid, fd, placements);
      },
      [done = std::move(done)](const Result<TaskOutput>& output) {
        done(output ? Result<void>() : Result<void>(output.error()));
      },
      std::move(keep));
}

}  // namespace hal::host
