#pragma once

#include "base/result.hpp"
#include "event/sources.hpp"
#include "process/spawn.hpp"

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>

namespace hal::process {

/**
 * Starts a program as spawn() does, without waiting for it: a file system that hangs holds up nobody but whoever wants
 * the program. Destruction before the answer kills the child, and so does the deadline: Errc::timed_out.
 */
class Start {
 public:
  /** `done`: the process, which the caller owns from then on. Start may be destroyed inside. */
  Start(event::Loop& loop, const SpawnSpec& spec, std::chrono::milliseconds deadline, Done<pid_t> done);
  ~Start();
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

 private:
  void on_report();
  void on_deadline();
  void give_up();
  void finish(Result<pid_t> result);

  event::Loop& loop_;
  std::string program_;
  Done<pid_t> done_;
  Forked child_;
  /** Told from the loop. */
  Error error_{Errc::internal, "unset"};
  event::Defer failed_;
  event::Timer deadline_;
  std::unique_ptr<event::Io> report_;
};

}  // namespace hal::process
