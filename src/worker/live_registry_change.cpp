// The part of LiveRegistry that ends and changes workers.

#include "worker/live_entry.hpp"
#include "worker/record.hpp"

#include <signal.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

void LiveRegistry::stop(const WorkerId& id, std::chrono::milliseconds timeout, Done<void> done) {
  Entry* found = entry(id);
  const bool unhealthy = found != nullptr && found->announced && found->worker.state == State::unhealthy;
  if (unhealthy && forgo(*found)) {
    return answer(std::move(done), Result<void>());
  }
  if (!unhealthy && (found = running(id, done)) == nullptr) {
    return;
  }
  found->health.end_wanted = true;
  found->worker.state = State::stopping;
  changed(*found);
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(timeout);
  const auto stopped = [this, id, done = std::move(done)](Result<void> result) {
    if (Entry* now = entry(id); !result && now != nullptr && now->worker.state == State::stopping) {
      now->worker.state = State::running;  // the engine will tell if that is wrong
      now->health.end_wanted = false;
      changed(*now);
      return done(result.error());
    }
    refresh(id, done);
  };
  parts_.runtime.stop(found->worker.container, seconds, alive_.wrap(stopped));
}

void LiveRegistry::kill(const WorkerId& id, int signal, Done<void> done) {
  if (signal != SIGKILL) {
    if (Entry* found = awake(id, done)) {
      found->health.sent.insert(signal);
      const auto sent = [this, id, signal, done = std::move(done)](const Result<void>& result) {
        if (Entry* now = entry(id); now != nullptr && !result) {
          now->health.sent.erase(signal);
        }
        done(result);
      };
      found->init->signal(signal, alive_.wrap(sent));
    }
    return;
  }
  // By the engine: it must also end a worker whose init does not answer.
  if (Entry* found = running(id, done)) {
    found->health.end_wanted = true;
    const auto sent = [this, id, done = std::move(done)](const Result<void>& result) {
      if (Entry* now = entry(id); now != nullptr && !result) {
        now->health.end_wanted = false;
      }
      done(result);
    };
    parts_.runtime.kill(found->worker.container, "SIGKILL", alive_.wrap(sent));
  }
}

void LiveRegistry::remove(const WorkerId& id, Done<void> done) {
  Entry* found = entry(id);
  if (found == nullptr || !found->announced) {
    return answer(std::move(done), Result<void>(Error{Errc::not_found, "there is no worker " + id.value}));
  }
  if (found->launch) {
    // The launch removes its container; finish_spawn() or reopen() sees the error and tidies up.
    found->launch->cancel({Errc::cancelled, "the worker was removed while it was being made"});
    found->removed = true;
    return answer(std::move(done), Result<void>());
  }
  if (found->worker.container.value.empty()) {
    erase(id);
    return answer(std::move(done), Result<void>());
  }
  // First of all: a crash leaves the container to be removed, and no worker whose container somebody seems to have
  // taken.
  if (const auto forgotten = remove_record(records(), id); !forgotten) {
    return answer(std::move(done), forgotten);
  }
  const State before = found->worker.state;
  found->health.timer.reset();
  found->health.end_wanted = true;
  if (!has_ended(before)) {
    found->worker.state = State::stopping;
    changed(*found);
  }
  const auto removed = [this, id, before, done = std::move(done)](Result<void> result) {
    Entry* now = entry(id);
    if (!result && now != nullptr) {
      if (now->worker.state == State::stopping) {
        now->worker.state = before;  // the engine will tell if that is wrong
        now->health.overdue = before == State::unhealthy;
      }
      now->health.end_wanted = false;
      (void)save_record(records(), now->worker);
      changed(*now);
    } else if (result) {
      if (now != nullptr && now->init) {
        now->init->fail_all({Errc::cancelled, "the worker was removed"});
      }
      erase(id);
    }
    done(std::move(result));
  };
  parts_.runtime.remove(found->worker.container, true, alive_.wrap(removed));
}

void LiveRegistry::restart(const WorkerId& id, Done<void> done) {
  Entry* found = entry(id);
  if (found == nullptr || !found->announced) {
    return answer(std::move(done), Result<void>(Error{Errc::not_found, "there is no worker " + id.value}));
  }
  const State state = found->worker.state;
  if (found->launch || state == State::stopping || state == State::creating || state == State::warm) {
    return answer(
        std::move(done),
        Result<void>(Error{Errc::busy, fmt::format("worker {} is {}", found->worker.name, name(found->worker.state))}));
  }
  if (const auto possible = check_makeable(found->worker); !possible) {
    return answer(std::move(done), possible);  // while there still is something to keep
  }
  if (!found->interrupted && !found->cut_off) {  // else it may well be the follower who asks
    found->health.replaced.clear();
    found->worker.replaced_usec.clear();
  }
  remake(*found, "restarting", std::move(done));
}

void LiveRegistry::remake(Entry& entry, std::string reason, Done<void> done) {
  const WorkerId id = entry.worker.id;
  entry.worker.state = State::creating;
  entry.worker.reason = std::move(reason);
  ++entry.worker.restarts;
  entry.replacing = true;
  entry.interrupted = false;
  entry.health.timer.reset();
  (void)save_record(records(), entry.worker);
  changed(entry);
  const auto removed = [this, id, done = std::move(done)](Result<void> result) {
    Entry* now = this->entry(id);
    if (now == nullptr) {
      return done(Error{Errc::not_found, "the worker was removed"});
    }
    now->replacing = false;
    if (!result) {  // then the old container is what there is
      refresh(id, [done, result](const Result<void>&) { done(result.error()); });
      return;
    }
    if (now->init) {
      now->init->fail_all({Errc::cancelled, "the worker is being restarted"});
      now->init.reset();
    }
    now->worker.container = {};
    now->worker.pid = 0;
    now->worker.generation.clear();
    now->out_of_memory = now->paused = now->cut_off = false;
    now->note.clear();
    now->limit_note.clear();
    now->memory_victim.clear();
    now->command_end.clear();
    auto replaced = std::move(now->health.replaced);
    now->health = Health();
    now->health.replaced = std::move(replaced);
    reopen(id, done);
  };
  if (entry.worker.container.value.empty()) {
    answer(Done<void>(alive_.wrap(removed)), Result<void>());
  } else {
    parts_.runtime.remove(entry.worker.container, true, alive_.wrap(removed));
  }
}

void LiveRegistry::reopen(const WorkerId& id, Done<void> done) {
  Entry* found = entry(id);
  const auto finished = [this, id, done = std::move(done)](const Result<void>& result) {
    if (Entry* now = entry(id); now != nullptr && now->removed) {
      erase(id);
    } else if (now != nullptr && !result) {
      ended(*now, State::failed, now->worker.exit_code, "restart: " + result.error().message);
    }
    done(result);
  };
  const auto opened = [this, id, finished](Result<std::vector<DetachedMount>> mounts) {
    Entry* now = entry(id);
    if (now == nullptr || !mounts) {
      return finished(mounts ? Result<void>(Error{Errc::not_found, "the worker was removed"})
                             : Result<void>(mounts.error()));
    }
    now->worker.reason.clear();
    launch(*now, {std::move(mounts->at(0)), std::move(mounts->at(1))}, alive_.wrap(finished));
  };
  parts_.binder.open(mounts_of(found->worker, -1), alive_.wrap(opened));
}

void LiveRegistry::pause(const WorkerId& id, Done<void> done) {
  if (Entry* found = running(id, done)) {
    parts_.runtime.pause(found->worker.container, std::move(done));
  }
}

void LiveRegistry::resume(const WorkerId& id, Done<void> done) {
  if (Entry* found = running(id, done)) {
    parts_.runtime.resume(found->worker.container, std::move(done));
  }
}

void LiveRegistry::set_limits(const WorkerId& id, LimitChange change, Done<void> done) {
  Entry* found = running(id, done);
  if (found == nullptr) {
    return;
  }
  // With control groups of version 2 the kernel would make room by killing.
  const auto used = parts_.usage(found->worker.pid);
  const auto needed = used.memory_bytes - std::min(used.memory_bytes, used.file_bytes);
  if (change.memory_bytes && *change.memory_bytes < needed) {
    return answer(
        std::move(done),
        Result<void>(Error{Errc::busy, fmt::format("worker {} uses {} bytes of memory", found->worker.name, needed)}));
  }
  const auto updated = [this, id, done = std::move(done)](const Result<void>& result) {
    if (!result) {
      return done(result.error());
    }
    refresh(id, [this, id, done](const Result<void>& refreshed) {
      if (const Entry* now = entry(id); now != nullptr && refreshed) {
        (void)save_record(records(), now->worker);
      }
      done(refreshed);
    });
  };
  parts_.runtime.update(found->worker.container, change, alive_.wrap(updated));
}

}  // namespace hal::worker
