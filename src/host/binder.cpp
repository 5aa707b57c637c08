#include "host/binder.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "host/inherit.hpp"
#include "host/mounts.hpp"
#include "host/pidfd.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace hal::host {

namespace {

using process::TaskOutput;

/** First byte of an opened directory's text; then the user's group, the path and a note for the log, each followed by a
 * zero byte. */
constexpr std::size_t text_parts = 3;
constexpr char mapped_mark = 'm';
constexpr char unmapped_mark = 'u';
/** Of a mapping namespace that was made on the way: uid and group. */
constexpr char map_mark = 'n';

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

/** Into the open directory, with the user's rights; what the log should say about it. */
std::string inherit(const UserRights& rights, int directory) {
  if (rights.home.empty()) {
    return {};
  }
  const ActAs user(rights);
  const UniqueFd home(user.taken() ? ::open(rights.home.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC) : -1);
  return home ? inherit_settings(home.get(), directory) : std::string();
}

/** What a task looks up once, for all directories it opens. */
struct Lookups {
  std::map<uid_t, UserRights> rights;
  std::string mountinfo = read_mountinfo();
};

/** Opens one directory and adds what came of it to `output`. */
Result<void> open_in_child(const worker::Binder::OpenRequest& request, Lookups& known, IdMaps& id_maps,
                           TaskOutput& output) {
  if (!known.rights.contains(request.user)) {
    known.rights.emplace(request.user, rights_of(request.user));
  }
  const auto& rights = known.rights.at(request.user);
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
  auto clone = clone_directory(directory->get(), *real_path, *owner, request.read_only, known.mountinfo, id_maps);
  if (!clone) {
    return clone.error();
  }
  if (owner->uid == 0 && clone->mapped && !request.create) {
    clone->note += clone->note.empty() ? "" : "; ";
    clone->note += "what agents make there belongs to root";
  }
  if (request.inherit) {
    const auto note = inherit(rights, directory->get());
    clone->note += clone->note.empty() || note.empty() ? note : "; " + note;
  }
  output.fds.push_back(std::move(clone->tree));
  output.text += clone->mapped ? mapped_mark : unmapped_mark;
  output.text += std::to_string(rights.gid) + '\0' + *real_path + '\0' + clone->note + '\0';
  return {};
}

Result<TaskOutput> open_all_in_child(const std::vector<worker::Binder::OpenRequest>& requests, IdMaps& id_maps) {
  TaskOutput output;
  Lookups known;
  for (const auto& request : requests) {
    if (const auto opened = open_in_child(request, known, id_maps, output); !opened) {
      return request.what.empty() ? opened.error() : opened.error().with(request.what);
    }
  }
  for (auto& [ids, map] : id_maps.fresh()) {
    output.fds.push_back(std::move(map));
    output.text += map_mark + std::to_string(ids.first) + '\0' + std::to_string(ids.second) + '\0' + '\0';
  }
  return output;
}

Result<std::vector<worker::DetachedMount>> decode(Result<TaskOutput> output, std::size_t count, IdMaps& id_maps) {
  if (!output) {
    return output.error();
  }
  const auto parts = text::split(output->text, '\0');
  std::vector<worker::DetachedMount> mounts;
  for (std::size_t i = 0; i < output->fds.size() && (i + 1) * text_parts < parts.size(); ++i) {
    const auto* part = &parts[i * text_parts];
    const char mark = part[0].empty() ? '\0' : part[0].front();
    const auto number = text::to_number<unsigned>(part[0].substr(part[0].empty() ? 0 : 1));
    if (mark == map_mark) {
      if (const auto group = text::to_number<gid_t>(part[1]); number && group) {
        id_maps.keep({*number, *group}, std::move(output->fds[i]));
      }
      continue;
    }
    if (!number) {
      break;
    }
    worker::DetachedMount mount;
    mount.tree = std::move(output->fds[i]);
    mount.mapped = mark == mapped_mark;
    mount.group = *number;
    mount.real_path = part[1];
    if (!part[2].empty()) {
      log::info({}, "{}: {}", text::printable(mount.real_path), part[2]);
    }
    mounts.push_back(std::move(mount));
  }
  if (mounts.size() != count) {
    return Error{Errc::internal, "the answer of a child lacks a mount"};
  }
  return mounts;
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

void MountBinder::open(std::vector<OpenRequest> requests, Done<std::vector<worker::DetachedMount>> done) {
  std::string shown;
  auto keep = id_maps_.descriptors();
  for (const auto& request : requests) {
    shown += (shown.empty() ? "" : ", ") + (request.path.empty() ? "the directory" : text::printable(request.path));
    keep.push_back(request.directory);
  }
  tasks_.run(
      "opening " + shown, [this, &requests] { return open_all_in_child(requests, id_maps_); },
      [this, count = requests.size(), done = std::move(done)](Result<TaskOutput> output) {
        done(decode(std::move(output), count, id_maps_));
      },
      std::move(keep));
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
