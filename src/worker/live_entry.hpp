#pragma once

#include "worker/health_policy.hpp"
#include "worker/idle_policy.hpp"
#include "worker/live_registry.hpp"

#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

/** What the source files of LiveRegistry share. */
namespace hal::worker {

[[nodiscard]] inline bool has_ended(State state) {
  return state == State::exited || state == State::failed;
}

/** Of the pool, whatever its state. A claim that is under way has made it a worker of its owner's. */
[[nodiscard]] inline bool is_unclaimed(const Worker& worker) {
  return !worker.generation.empty() && worker.workspace.empty();
}

[[nodiscard]] inline std::uint64_t now_usec() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count());
}

/** What decides whether a worker is made anew (live_registry_health.cpp). */
struct Health {
  /** Whoever ends it now was asked to. */
  bool end_wanted = false;
  /** Signals its owner has sent to the command. */
  std::set<int> sent;
  std::optional<process::ExitStatus> command;
  std::vector<std::chrono::steady_clock::time_point> replaced;
  /** What is wrong with a worker in state unhealthy. */
  std::string failure;
  /** It may get well again before it is replaced: its container runs. */
  bool curable = false;
  /** The replacement waits for the engine or the parent. */
  bool overdue = false;
  std::unique_ptr<event::Timer> timer;
};

/** Of a running worker whose profile has an idle timeout (live_registry_idle.cpp). */
struct Idleness {
  std::uint64_t since_usec = 0;
  CpuSample before;
  std::unique_ptr<event::Timer> timer;
};

struct LiveRegistry::Entry {
  Worker worker;
  std::unique_ptr<InitChannel> init;
  /** While a container is being made for it. Declared after init, which it uses. */
  std::unique_ptr<Launch> launch;
  /** Others see the worker: its project is opened and its name settled. */
  bool announced = false;
  /** The spawn was answered before the worker ran; a failure leaves it in state failed. */
  bool answer_early = false;
  Claim claim = Claim::prefer;
  /** When a spawn asked for it; unset once its command runs. */
  std::optional<std::chrono::steady_clock::time_point> asked_at;
  /** Of a spawn: what was opened for it, until a container is found or made. */
  std::optional<Mounts> mounts;
  /** Of a warm worker: the spawn that will take it, if it answers. */
  WorkerId reserved_for;
  /** Of a warm worker: it has been asked whether all is in place. */
  bool asked = false;
  /** Removed while it was being made: forget it when the launch has tidied up. */
  bool removed = false;
  bool out_of_memory = false;
  /** Whom the kernel killed then, if that is known. */
  std::string memory_victim;
  /** The last limit that was hit. */
  std::string limit_note;
  /** What a claim wants other than the warm worker had it. */
  LimitChange limit_change;
  /** Frozen by the engine: runs, but its init cannot answer. */
  bool paused = false;
  /** In the network of a namespace holder that is no more. */
  bool cut_off = false;
  /** Its restart ended with an earlier daemon. */
  bool interrupted = false;
  /** Of a restart: what happens to the old container is of no interest. */
  bool replacing = false;
  /** What the launch found worth telling. */
  std::string note;
  /** How the worker's command ended, once its init has said so; or why we end it. */
  std::string command_end;
  Health health;
  Idleness idle;
  /** The caller's directory until it has been opened. */
  UniqueFd directory;
  std::vector<Done<WorkerId>> spawn_waiters;
};

template <class T>
void LiveRegistry::answer(Done<T> done, Result<T> result) {
  event::post(
      parts_.loop, "worker answer",
      [done = std::move(done), result = std::make_shared<Result<T>>(std::move(result))] { done(std::move(*result)); });
}

template <class T>
LiveRegistry::Entry* LiveRegistry::running(const WorkerId& id, const Done<T>& done) {
  Entry* found = entry(id);
  if (found == nullptr || !found->announced) {
    answer(done, Result<T>(Error{Errc::not_found, "there is no worker " + id.value}));
    return nullptr;
  }
  if (found->worker.state != State::running) {
    answer(done,
           Result<T>(Error{Errc::busy, fmt::format("worker {} is {}{}", found->worker.name, name(found->worker.state),
                                                   found->worker.reason.empty() ? "" : ": ") +
                                           found->worker.reason}));
    return nullptr;
  }
  return found;
}

template <class T>
LiveRegistry::Entry* LiveRegistry::awake(const WorkerId& id, const Done<T>& done) {
  Entry* found = running(id, done);
  Result<T> error = Error{Errc::busy, ""};
  if (found == nullptr) {
    return nullptr;
  }
  if (found->paused) {
    error = Error{Errc::busy, "worker " + found->worker.name + " is paused"};
  } else if (!found->init) {
    error = Error{Errc::unavailable, "worker " + found->worker.name + ": its control socket could not be opened"};
  } else {
    return found;
  }
  answer(done, std::move(error));
  return nullptr;
}

}  // namespace hal::worker
