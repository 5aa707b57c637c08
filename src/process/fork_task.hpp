#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hal::process {

class Child;

/** What a task in a forked child hands back: descriptors, or text. At most 8 descriptors and 64 KiB. */
struct TaskOutput {
  std::vector<UniqueFd> fds;
  std::string text;
};

/**
 * Runs a function in a forked copy of this process, for what must not happen in the daemon itself: entering other
 * namespaces, taking a caller's user and groups, waiting for a slow file system. The loop goes on meanwhile.
 *
 * The function runs with signals reset, may throw and may block. It inherits all memory, so it should be short, and of
 * the descriptors only stdio and `keep`: a task that hangs holds nothing else open, no lock, no mount, no client's
 * connection. An answer that is too large is Errc::limit. Destruction kills the child. The deadline kills it too:
 * Errc::timed_out.
 */
class ForkTask {
 public:
  using Function = std::function<Result<TaskOutput>()>;
  ForkTask(event::Loop& loop, std::string name, std::chrono::milliseconds deadline, const Function& function,
           Done<TaskOutput> done, std::vector<int> keep = {});
  ~ForkTask();
  ForkTask(const ForkTask&) = delete;
  ForkTask& operator=(const ForkTask&) = delete;

 private:
  void finish(Result<TaskOutput> result);
  void receive();

  std::string name_;
  Done<TaskOutput> done_;
  UniqueFd socket_;
  std::unique_ptr<Child> child_;
  std::unique_ptr<event::Io> source_;
  event::Timer deadline_;
  event::Defer failed_;
};

}  // namespace hal::process
