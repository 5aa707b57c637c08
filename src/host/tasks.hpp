#pragma once

#include "event/sources.hpp"
#include "process/fork_task.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hal::host {

/** Forked tasks under way. A bounded number: a file system that hangs must not fill the process table. */
class Tasks {
 public:
  static constexpr std::size_t max_tasks = 64;
  static constexpr std::chrono::milliseconds deadline{10'000};

  explicit Tasks(event::Loop& loop);
  Tasks(const Tasks&) = delete;
  Tasks& operator=(const Tasks&) = delete;

  /** As ForkTask; Errc::busy where too many are under way. Destruction of this ends them, and `done` is not called. */
  void run(const std::string& name, const process::ForkTask::Function& function, Done<process::TaskOutput> done,
           std::vector<int> keep);

 private:
  event::Loop& loop_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, std::unique_ptr<process::ForkTask>> running_;
  std::vector<std::pair<std::string, Done<process::TaskOutput>>> refused_;
  event::Defer refuse_later_;
};

}  // namespace hal::host
