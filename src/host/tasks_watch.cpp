#include "host/tasks_watch.hpp"

#include "base/error.hpp"
#include "host/kernel_log.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::host {

namespace {

UniqueFd open_inotify() {
  UniqueFd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) {
    throw_errno("inotify_init1");
  }
  return fd;
}

/** Of a kernel that says much; the rest in the loop's next turn. */
constexpr int records_at_once = 64;

/** From its end; a record a read. */
UniqueFd open_kernel_log() {
  UniqueFd fd(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  return fd && ::lseek(fd.get(), 0, SEEK_END) == 0 ? std::move(fd) : UniqueFd();
}

}  // namespace

TasksWatch::TasksWatch(event::Loop& loop, const UsageReader& usage, Callback callback)
    : usage_(usage),
      callback_(std::move(callback)),
      inotify_(open_inotify()),
      notices_(loop, inotify_.get(), EPOLLIN, "limits of tasks", [this](std::uint32_t) { on_notice(); }),
      kernel_log_(open_kernel_log()),
      again_(loop, "limits of tasks", [this] { look_at_all(); }) {
  if (kernel_log_) {
    kernel_news_ = std::make_unique<event::Io>(loop, kernel_log_.get(), EPOLLIN, "kernel log",
                                               [this](std::uint32_t) { on_kernel_log(); });
  }
}

void TasksWatch::follow(const WorkerId& id, pid_t container_pid) {
  auto found = groups_.find(id);
  if (found != groups_.end() && found->second.pid == container_pid) {
    return;
  }
  if (found != groups_.end()) {
    forget(found->second);
    groups_.erase(found);
  }
  Group group;
  group.pid = container_pid;
  group.file = container_pid > 0 ? usage_.pids_events(container_pid, group.tells) : std::string();
  if (group.file.empty()) {
    return;
  }
  listen(group);
  group.refused = refused_forks(group.file);
  groups_.emplace(id, std::move(group));
  arm();
}

void TasksWatch::listen(Group& group) {
  if (group.tells) {
    group.watch = ::inotify_add_watch(inotify_.get(), group.file.c_str(), IN_MODIFY);
  }
}

void TasksWatch::forget(Group& group) {
  if (group.watch >= 0) {
    (void)::inotify_rm_watch(inotify_.get(), std::exchange(group.watch, -1));
  }
}

bool TasksWatch::look(const WorkerId& id, Group& group) {
  const auto refused = refused_forks(group.file);
  if (refused <= std::exchange(group.refused, refused)) {
    return false;
  }
  const auto pid = group.pid;
  callback_(id, pid);  // may change groups_
  return true;
}

void TasksWatch::look_at_all() {
  std::vector<WorkerId> due;
  for (const auto& [id, group] : groups_) {
    if (group.watch < 0) {  // also those that are not due
      due.push_back(id);
    }
  }
  for (const auto& id : due) {
    const auto found = groups_.find(id);
    if (found != groups_.end() && found->second.tells) {
      listen(found->second);  // before the look, so that nothing is missed between the two
    }
    if (found != groups_.end() && look(id, found->second)) {
      if (const auto still = groups_.find(id); still != groups_.end()) {
        forget(still->second);
      }
    }
  }
  arm();
}

void TasksWatch::on_notice() {
  alignas(inotify_event) char buffer[4096];
  std::vector<int> told;
  for (ssize_t bytes = 0; (bytes = ::read(inotify_.get(), buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < bytes;) {
      inotify_event event{};
      std::memcpy(&event, buffer + at, sizeof event);
      told.push_back(event.wd);
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
  for (const int watch : told) {
    const auto found =
        std::find_if(groups_.begin(), groups_.end(), [watch](const auto& item) { return item.second.watch == watch; });
    if (found != groups_.end()) {
      forget(found->second);  // for a while: a fork bomb has a word for each try
      const WorkerId id = found->first;
      (void)look(id, found->second);
    }
  }
  arm();
}

void TasksWatch::on_kernel_log() {
  char record[8192];  // what the kernel says at most
  bool refused = false;
  for (int records = 0; records < records_at_once; ++records) {
    const auto bytes = ::read(kernel_log_.get(), record, sizeof record);
    if (bytes < 0 && errno != EPIPE) {  // EPIPE: some were lost
      break;
    }
    refused = refused || bytes < 0 ||
              std::string_view(record, static_cast<std::size_t>(bytes)).find(fork_refusal) != std::string_view::npos;
  }
  if (refused) {
    look_at_all();
  }
}

void TasksWatch::arm() {
  const bool due = std::any_of(groups_.begin(), groups_.end(),
                               [this](const auto& item) { return item.second.due(kernel_log_.get() >= 0); });
  if (!due) {
    again_.disarm();
  } else if (!again_.armed()) {
    again_.arm(look_interval);
  }
}

}  // namespace hal::host
