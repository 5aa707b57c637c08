// The part of LiveRegistry that makes failed workers anew.

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/live_entry.hpp"
#include "worker/record.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::worker {

bool LiveRegistry::may_replace(const Worker& worker) const {
  const auto profile = parts_.settings.profiles.find(worker.profile);
  return profile == parts_.settings.profiles.end() || profile->second.restart_on_failure;
}

bool LiveRegistry::recover(Entry& entry, const End& end, int exit_code, const std::string& failure) {
  Worker& worker = entry.worker;
  const auto decision = health_policy(end, may_replace(worker), entry.health.replaced, parts_.loop.now());
  if (decision.remedy == Remedy::none) {
    return false;
  }
  worker.exit_code = exit_code;
  worker.pid = 0;
  if (decision.remedy == Remedy::give_up) {
    entry.health.failure.clear();
    log::error({{names::field_worker, worker.id.value}, {names::field_message_id, names::message_id_worker_given_up}},
               "worker {} is not made anew any more: {}", worker.name, failure);
    ended(entry, State::failed, exit_code,
          fmt::format("{}; it has been made anew {} times within {} minutes", failure, replacements_at_most,
                      replacements_within.count()));
    return true;
  }
  if (entry.init) {
    entry.init->fail_all({Errc::disconnected, "the worker is made anew: " + failure});
    entry.init.reset();
  }
  entry.health.failure = failure;
  entry.health.curable = false;
  await_replacement(entry, decision.delay);
  return true;
}

void LiveRegistry::await_replacement(Entry& entry, std::chrono::milliseconds delay) {
  Worker& worker = entry.worker;
  worker.state = State::unhealthy;
  const auto when =
      delay.count() == 0 ? std::string("now") : fmt::format("in {:g} s", static_cast<double>(delay.count()) / 1000);
  worker.reason = fmt::format("{}; it is made anew {}", entry.health.failure, when);
  log::warning({{names::field_worker, worker.id.value}, {names::field_message_id, names::message_id_worker_unhealthy}},
               "worker {} is unhealthy: {}", worker.name, worker.reason);
  entry.health.timer = std::make_unique<event::Timer>(parts_.loop, "worker replacement",
                                                      [this, id = worker.id] { replace(WorkerId(id)); });
  entry.health.timer->arm(delay);
  changed(entry);
}

void LiveRegistry::replace(const WorkerId& id) {
  Entry* found = entry(id);
  if (found == nullptr || found->worker.state != State::unhealthy) {
    return;
  }
  const std::string failure = found->health.failure;
  if (const auto makeable = check_makeable(found->worker); !makeable) {
    found->health.overdue = true;
    found->worker.reason = failure + "; it is made anew when that is possible: " + makeable.error().message;
    return changed(*found);
  }
  auto& replaced = found->health.replaced;
  const auto now = parts_.loop.now();
  std::erase_if(replaced, [now](auto time) { return now - time >= replacements_within; });
  replaced.push_back(now);
  found->worker.replaced_usec = kept_replacements(replaced, now, now_usec());
  remake(*found, "made anew: " + failure,
         [this, id, failure](const Result<void>& result) { this->replaced(id, failure, result); });
}

void LiveRegistry::replaced(const WorkerId& id, const std::string& failure, const Result<void>& result) {
  Entry* found = entry(id);
  if (found == nullptr || found->health.end_wanted) {
    return;
  }
  if (result) {
    found->note = "made anew: " + failure + (found->note.empty() ? "" : "; " + found->note);
    found->worker.reason = remark(*found);
    changed(*found);
  } else if (has_ended(found->worker.state)) {
    recover(*found, {}, found->worker.exit_code, found->worker.reason);
  } else if (found->init) {
    found->init->ask_again();  // the old container could not be removed
  }
}

void LiveRegistry::on_makeable() {
  std::vector<WorkerId> overdue;
  for (const auto& [id, entry] : entries_) {
    if (std::exchange(entry->health.overdue, false)) {
      overdue.push_back(id);
    }
  }
  for (const auto& id : overdue) {
    replace(id);
  }
}

void LiveRegistry::silent(const WorkerId& id, const std::string& what) {
  // Whether it is frozen, or gone, the engine knows; where there is none, nothing is replaced before there is.
  refresh(id, [this, id, what](const Result<void>&) {
    Entry* found = entry(id);
    if (found != nullptr && found->init && found->init->silent()) {
      sicken(*found, what);
    }
  });
}

void LiveRegistry::sicken(Entry& entry, const std::string& failure) {
  Worker& worker = entry.worker;
  if (entry.launch || entry.replacing || entry.paused) {
    return;
  }
  if (worker.state == State::warm) {
    return drop_warm(entry, failure);
  }
  if (worker.state != State::running) {
    return;
  }
  const auto decision = health_policy({}, may_replace(worker), entry.health.replaced, parts_.loop.now());
  if (decision.remedy == Remedy::give_up) {
    entry.command_end = failure;
    return parts_.runtime.kill(worker.container, "SIGKILL", [](const Result<void>&) {});  // recover() does the rest
  }
  entry.health.failure = failure;
  entry.health.curable = true;
  if (decision.remedy == Remedy::replace) {
    return await_replacement(entry, decision.delay);
  }
  worker.state = State::unhealthy;
  worker.reason = failure;
  changed(entry);
}

void LiveRegistry::cure(Entry& entry) {
  if (entry.worker.state == State::unhealthy && std::exchange(entry.health.curable, false)) {
    entry.health.timer.reset();
    entry.health.overdue = false;
    entry.health.failure.clear();
    entry.worker.state = State::running;
    entry.worker.reason = remark(entry);
    changed(entry);
  }
}

bool LiveRegistry::forgo(Entry& entry) {
  entry.health.timer.reset();
  entry.health.overdue = false;
  const auto failure = std::exchange(entry.health.failure, {});
  if (entry.worker.pid != 0) {
    return false;
  }
  ended(entry, State::exited, entry.worker.exit_code, failure + "; stopped before it was made anew");
  return true;
}

}  // namespace hal::worker
