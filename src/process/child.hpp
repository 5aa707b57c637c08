#pragma once

#include "event/sources.hpp"

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

namespace hal::process {

/** How a process ended. */
struct ExitStatus {
  /** Of exit(), or 128 + the signal's number, as shells count. */
  int code = 0;
  /** The signal that killed it, 0 if none did. */
  int signal = 0;

  /** "exited with code 3", "was killed by signal 9 (Killed)". */
  [[nodiscard]] std::string describe() const;
};

/** From the status of waitpid(2). */
[[nodiscard]] ExitStatus exit_status(int wait_status);

/**
 * A child process of ours, which leads its own process group. When it ends, the rest of its group is killed, so that
 * nothing outlives its leader. Destruction kills the whole group; the loop reaps the child without our waiting for it.
 */
class Child {
 public:
  using Callback = std::function<void(const ExitStatus&)>;
  /** A child that cannot be watched (no descriptor left) is killed, and reported so. */
  Child(event::Loop& loop, pid_t pid, std::string name, Callback on_exit);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] bool running() const noexcept { return running_; }
  /** To every process of the group; nothing once the leader was reaped. */
  void kill_group(int signal) noexcept;

 private:
  void on_exit(const ExitStatus& status);
  void kill_all() noexcept;

  pid_t pid_;
  bool running_ = true;
  Callback on_exit_;
  event::Defer unwatched_;
  /** Empty for a child that could not be watched. */
  std::unique_ptr<event::ChildExit> source_;
};

}  // namespace hal::process
