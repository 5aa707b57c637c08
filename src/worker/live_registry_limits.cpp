// The part of LiveRegistry that tells of limits that were hit.

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/live_entry.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::worker {

void LiveRegistry::on_out_of_memory(Entry& entry) {
  entry.out_of_memory = true;
  entry.memory_victim = parts_.memory_victim ? parts_.memory_victim(entry.worker.container) : std::string();
  const auto& victim = entry.memory_victim;
  limit_hit(entry, "memory", names::message_id_worker_out_of_memory, victim,
            fmt::format("it reached its limit of {} bytes of memory: the kernel killed {}",
                        entry.worker.limits.memory_bytes, victim.empty() ? "a process" : victim));
}

void LiveRegistry::on_tasks_refused(const WorkerId& id, const std::string& busiest) {
  Entry* found = entry(id);
  if (found == nullptr || found->launch || found->replacing) {
    return;
  }
  limit_hit(*found, "pids", names::message_id_worker_out_of_tasks, busiest,
            fmt::format("it reached its limit of {} tasks{}{}", found->worker.limits.pids,
                        busiest.empty() ? "" : ", most of them of ", busiest));
}

void LiveRegistry::limit_hit(Entry& entry, std::string_view what, std::string_view message_id,
                             const std::string& process, std::string note) {
  Worker& worker = entry.worker;
  log::warning({{names::field_worker, worker.id.value},
                {names::field_message_id, message_id},
                {names::field_limit, what},
                {names::field_process, process}},
               "worker {}: {}", worker.name, note);
  entry.limit_note = std::move(note);
  if (worker.state == State::running) {
    worker.reason = remark(entry);
    changed(entry);
  }
  if (listener_ != nullptr && entry.announced) {
    listener_->on_limit_hit(worker.id, what);
  }
}

}  // namespace hal::worker
