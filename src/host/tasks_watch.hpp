#pragma once

#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "host/usage.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace hal::host {

/**
 * Sees workers run into their limit of tasks. Control groups of version 2 tell of it (inotify on pids.events). Those of
 * version 1 do not from Linux 6.11 on: of the first time in a group's life the kernel's log tells, and from then on the
 * group is looked at every look_interval; from the start where we may not read that log. What goes on is told once in
 * that time.
 */
class TasksWatch {
 public:
  static constexpr auto look_interval = std::chrono::seconds(10);
  /** Of the worker and its PID 1. */
  using Callback = std::function<void(const WorkerId&, pid_t)>;

  TasksWatch(event::Loop& loop, const UsageReader& usage, Callback callback);

  /** From now on the group of this process; 0: none. */
  void follow(const WorkerId& id, pid_t container_pid);

 private:
  struct Group {
    pid_t pid = 0;
    std::string file;
    bool tells = false;
    /** Of inotify, while we wait for a word of the kernel; else -1, and it is looked at. */
    int watch = -1;
    std::uint64_t refused = 0;

    /** Nobody will tell when forks are refused again. */
    [[nodiscard]] bool due(bool log_tells) const { return watch < 0 && (tells || refused > 0 || !log_tells); }
  };

  void listen(Group& group);
  void forget(Group& group);
  /** True if forks were refused since the last time. */
  bool look(const WorkerId& id, Group& group);
  void look_at_all();
  void on_notice();
  void on_kernel_log();
  void arm();

  const UsageReader& usage_;
  Callback callback_;
  std::map<WorkerId, Group> groups_;
  UniqueFd inotify_;
  event::Io notices_;
  UniqueFd kernel_log_;
  std::unique_ptr<event::Io> kernel_news_;
  event::Timer again_;
};

}  // namespace hal::host
