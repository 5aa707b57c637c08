#include "worker/follower.hpp"

#include "base/log.hpp"
#include "base/names.hpp"

#include <optional>
#include <utility>

namespace hal::worker {

namespace {

/** A Claude Code that waits for its user uses less; one that shows its progress uses several times more. */
constexpr unsigned busy_share = 100;
/** Of one worker; the engine may be slow, a mistake stays. */
constexpr unsigned max_attempts = 6;

}  // namespace

Follower::Follower(Parts parts)
    : parts_(std::move(parts)), again_(parts_.loop, "workers follow their parent", [this] { look(); }) {}

void Follower::on_worker_changed(const WorkerId& id) {
  if (paused_.contains(id)) {
    again_.arm(std::chrono::milliseconds(0));  // not from inside of what changes it
  }
}

void Follower::look() {
  if (following_) {
    return;
  }
  again_.disarm();
  paused_.clear();
  if (!parts_.possible()) {
    return;
  }
  const auto now = parts_.loop.now();
  const auto before = std::exchange(watches_, {});
  std::optional<WorkerId> next;
  for (const auto& worker : parts_.stranded()) {
    if (worker.paused) {
      paused_.insert(worker.id);
      continue;
    }
    if (const auto known = before.find(worker.id); known != before.end()) {
      watches_.insert(*known);
    }
    if (watch(worker, now) && !next) {
      next = worker.id;
    }
  }
  for (auto it = failures_.begin(); it != failures_.end();) {
    const auto* worker = parts_.registry.find(it->first);
    if (worker == nullptr || worker->state != State::failed) {
      it = failures_.erase(it);  // somebody else has done something about it
      continue;
    }
    if (now >= it->second.next && !next) {
      next = it->first;
    }
    ++it;
  }
  if (next) {
    follow(*next);
  } else if (!watches_.empty() || !failures_.empty()) {
    again_.arm(parts_.times.look);
  }
}

bool Follower::watch(const Stranded& worker, Time now) {
  if (failures_.contains(worker.id)) {
    return false;
  }
  const auto cpu = parts_.registry.usage(worker.id).cpu_nanoseconds;
  const auto* seen = parts_.registry.find(worker.id);
  const auto activity = seen != nullptr ? seen->last_activity_usec : 0;
  auto [it, fresh] = watches_.try_emplace(worker.id, Watch{now, now, now, cpu, activity});
  auto& watch = it->second;
  const auto floor = static_cast<std::uint64_t>(std::chrono::nanoseconds(now - watch.looked).count()) / busy_share;
  if (worker.in_use || activity != watch.activity_usec || cpu > watch.cpu_nanoseconds + floor) {
    watch.quiet_since = now;
  }
  watch.looked = now;
  watch.cpu_nanoseconds = cpu;
  watch.activity_usec = activity;
  return worker.interrupted || now - watch.quiet_since >= parts_.times.quiet || now - watch.since >= parts_.times.grace;
}

void Follower::follow(const WorkerId& id) {
  const auto* worker = parts_.registry.find(id);
  const auto called = worker != nullptr ? worker->name : id.value;
  if (worker != nullptr && worker->state == State::failed) {
    log::notice({{names::field_worker, id.value}}, "worker {} is made anew: its last restart was not finished", called);
  } else {
    log::notice({{names::field_worker, id.value}, {names::field_message_id, names::message_id_worker_follows}},
                "worker {} is made anew in the network of the parent, which was replaced", called);
  }
  following_ = true;
  watches_.erase(id);
  parts_.registry.restart(id, alive_.wrap([this, id](const Result<void>& result) { followed(id, result); }));
}

void Follower::followed(const WorkerId& id, const Result<void>& result) {
  following_ = false;
  const auto* worker = parts_.registry.find(id);
  if (result || worker == nullptr || worker->state != State::failed) {
    failures_.erase(id);  // it runs: in the new network, or still in the old one
    return look();
  }
  auto& failure = failures_[id];
  if (++failure.attempts == max_attempts) {
    log::error({{names::field_worker, id.value}}, "worker {} could not follow its parent: {}; it stays as it is",
               worker->name, result.error().message);
    failures_.erase(id);
    return look();
  }
  const auto delay = parts_.times.look * (1 << (failure.attempts - 1));
  log::warning({{names::field_worker, id.value}}, "worker {} could not follow its parent: {}; trying again",
               worker->name, result.error().message);
  failure.next = parts_.loop.now() + delay;
  look();
}

}  // namespace hal::worker
