// The part of LiveRegistry that knows when a worker was last used, and stops it where its profile says so.

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/live_entry.hpp"

#include <algorithm>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace hal::worker {

namespace {

constexpr auto stop_timeout = std::chrono::seconds(10);

}  // namespace

void LiveRegistry::note_activity(const WorkerId& id, std::uint64_t usec) {
  if (Entry* found = entry(id)) {
    found->worker.last_activity_usec = std::max(found->worker.last_activity_usec, usec);
  }
}

std::uint64_t LiveRegistry::last_activity(const WorkerId& id) const {
  const Entry* found = entry(id);
  if (found == nullptr) {
    return 0;
  }
  const auto on_terminals =
      parts_.terminal_activity && found->worker.pid > 0 ? parts_.terminal_activity(found->worker.pid) : 0;
  return std::max(found->worker.last_activity_usec, on_terminals);
}

std::chrono::microseconds LiveRegistry::idle_timeout(const Worker& worker) const {
  const auto profile = parts_.settings.profiles.find(worker.profile);
  return profile == parts_.settings.profiles.end() ? std::chrono::microseconds(0) : profile->second.idle_timeout;
}

void LiveRegistry::follow_idleness(Entry& entry) {
  const auto timeout = idle_timeout(entry.worker);
  if (entry.worker.state != State::running || timeout.count() == 0) {
    entry.idle = {};
    return;
  }
  if (entry.idle.timer) {
    return;
  }
  entry.idle.since_usec = now_usec();  // of what happened before, an earlier daemon may have known more
  entry.idle.before = {entry.idle.since_usec, usage(entry.worker.id).cpu_nanoseconds};
  entry.idle.timer = std::make_unique<event::Timer>(parts_.loop, "idle worker",
                                                    [this, id = entry.worker.id] { look_at_idleness(WorkerId(id)); });
  entry.idle.timer->arm(timeout);
}

void LiveRegistry::look_at_idleness(const WorkerId& id) {
  Entry* found = entry(id);
  if (found == nullptr || !found->idle.timer) {
    return;
  }
  IdleSituation now;
  now.timeout = idle_timeout(found->worker);
  now.now_usec = now_usec();
  now.last_activity_usec = std::max(last_activity(id), found->idle.since_usec);
  now.cpu_nsec = usage(id).cpu_nanoseconds;
  now.before = std::exchange(found->idle.before, {now.now_usec, now.cpu_nsec});
  now.paused = found->paused;
  const auto decision = idle_policy(now);
  note_activity(id, decision.last_activity_usec);
  if (decision.look_again) {
    found->idle.timer->arm(*decision.look_again);
  }
  if (!decision.stop) {
    return;
  }
  const auto idle = std::chrono::microseconds(now.now_usec - decision.last_activity_usec);
  found->command_end = fmt::format("idle for {:%T}", std::chrono::floor<std::chrono::seconds>(idle));
  log::info({{names::field_worker, id.value}}, "worker {} is stopped: {}", found->worker.name, found->command_end);
  stop(id, stop_timeout, [this, id](const Result<void>& stopped) {
    if (Entry* still = entry(id); still != nullptr && !stopped) {
      log::warning({{names::field_worker, id.value}}, "worker {} could not be stopped: {}", still->worker.name,
                   stopped.error().message);
      still->command_end.clear();
    }
  });
}

void LiveRegistry::on_profiles_changed() {
  std::vector<WorkerId> ids;
  for (const auto& [id, entry] : entries_) {
    follow_idleness(*entry);
    ids.push_back(id);
  }
  for (const auto& id : ids) {
    look_at_idleness(id);
  }
}

}  // namespace hal::worker
