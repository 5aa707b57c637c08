#include "host/tasks.hpp"

namespace hal::host {

Tasks::Tasks(event::Loop& loop)
    : loop_(loop), refuse_later_(loop, "tasks refused", [this] {
        for (const auto& [name, done] : std::exchange(refused_, {})) {
          done(Error{Errc::busy, name + ": too many are under way"});
        }
      }) {}

void Tasks::run(const std::string& name, const process::ForkTask::Function& function, Done<process::TaskOutput> done,
                std::vector<int> keep) {
  if (running_.size() >= max_tasks) {
    refused_.emplace_back(name, std::move(done));
    refuse_later_.schedule();
    return;
  }
  const auto id = next_++;
  running_[id] = std::make_unique<process::ForkTask>(
      loop_, name, deadline, function,
      [this, id, done = std::move(done)](Result<process::TaskOutput> output) {
        const auto finished = std::move(running_[id]);  // lives until the end of this call, which is its own
        running_.erase(id);
        done(std::move(output));
      },
      std::move(keep));
}

}  // namespace hal::host
