#include "worker/live_registry.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/live_entry.hpp"
#include "worker/record.hpp"
#include "worker/run_folder.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

LiveRegistry::LiveRegistry(Parts parts) : parts_(std::move(parts)) {}

LiveRegistry::~LiveRegistry() = default;

LiveRegistry::Entry* LiveRegistry::entry(const WorkerId& id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : it->second.get();
}

LiveRegistry::Entry* LiveRegistry::entry_of(const ContainerId& container) const {
  for (const auto& [id, entry] : entries_) {
    if (entry->worker.container == container) {
      return entry.get();
    }
  }
  return nullptr;
}

const Worker* LiveRegistry::find(const WorkerId& id) const {
  const Entry* found = entry(id);
  return found != nullptr && found->announced ? &found->worker : nullptr;
}

const Worker* LiveRegistry::find(uid_t owner, std::string_view name) const {
  const Worker* ended = nullptr;
  for (const Worker* worker : all()) {
    if (worker->owner == owner && worker->name == name && !is_unclaimed(*worker)) {
      if (!has_ended(worker->state)) {
        return worker;
      }
      ended = worker;
    }
  }
  return ended;
}

std::vector<const Worker*> LiveRegistry::all() const {
  std::vector<const Worker*> workers;
  for (const auto& [id, entry] : entries_) {
    if (entry->announced) {
      workers.push_back(&entry->worker);
    }
  }
  return workers;
}

ContainerUsage LiveRegistry::usage(const WorkerId& id) const {
  const Entry* found = entry(id);
  return found != nullptr && found->worker.pid > 0 ? parts_.usage(found->worker.pid) : ContainerUsage{};
}

std::string LiveRegistry::records() const {
  return parts_.settings.state_dir + "/worker";
}

void LiveRegistry::on_container_event(const ContainerEvent& event) {
  Entry* found = entry_of(event.id);
  if (found == nullptr) {
    return look_for_strays(event);
  }
  if (found->launch || found->replacing) {
    return;  // a launch asks the engine itself
  }
  if (event.kind == ContainerEvent::Kind::out_of_memory) {
    return on_out_of_memory(*found);
  }
  refresh(found->worker.id, [](const Result<void>&) {});
}

void LiveRegistry::refresh(const WorkerId& id, Done<void> done) {
  const Entry* found = entry(id);
  if (found == nullptr || found->worker.container.value.empty()) {
    return answer(std::move(done), Result<void>());
  }
  const ContainerId container = found->worker.container;
  const auto inspected = [this, id, container, done = std::move(done)](Result<ContainerInfo> info) {
    Entry* now = entry(id);
    if (now == nullptr || now->worker.container != container || now->launch || now->replacing) {
      return done({});
    }
    if (!info && info.error().code == Errc::not_found) {
      lost_container(*now);
      return done({});
    }
    if (!info) {
      return done(info.error());
    }
    apply(*now, *info);
    done({});
  };
  parts_.runtime.inspect(container, alive_.wrap(inspected));
}

void LiveRegistry::apply(Entry& entry, const ContainerInfo& info) {
  Worker& worker = entry.worker;
  switch (info.status) {
    case ContainerStatus::running:
    case ContainerStatus::paused: {
      worker.pid = info.pid;
      worker.limits.memory_bytes = info.memory_bytes;
      worker.limits.pids = info.pids;
      worker.limits.cpus = static_cast<double>(info.nano_cpus) / 1e9;
      const bool resumed = std::exchange(entry.paused, info.status == ContainerStatus::paused) && !entry.paused;
      const bool waits = worker.state == State::unhealthy && !entry.health.failure.empty();
      if (worker.state != State::stopping && worker.state != State::warm && !waits) {
        worker.state = State::running;
        check_network(entry);
        worker.reason = remark(entry);
      }
      if (entry.init) {
        entry.init->set_container_pid(info.pid);
        if (resumed) {
          entry.init->ask_again();
        }
      }
      changed(entry);
      if (info.unhealthy) {
        sicken(entry, "the image's health check fails");
      } else if (entry.init && !entry.init->silent()) {
        cure(entry);
      }
      break;
    }
    case ContainerStatus::created:
    case ContainerStatus::exited:
    case ContainerStatus::dead: {
      if (has_ended(worker.state) || (worker.pid == 0 && !entry.health.failure.empty())) {
        return;
      }
      if (is_unclaimed(worker)) {
        if (worker.state != State::stopping) {  // else it is being removed
          drop_warm(entry, fmt::format("its container ended with code {}", info.exit_code));
        }
        return;
      }
      std::string reason = entry.command_end;
      if (info.oom_killed || (entry.out_of_memory && info.exit_code == 137)) {
        reason = fmt::format("out of memory: more than {} bytes were used{}{}", worker.limits.memory_bytes,
                             entry.memory_victim.empty() ? "" : "; the kernel killed ", entry.memory_victim);
      } else if (reason.empty()) {
        reason = fmt::format("the container ended with code {}", info.exit_code);
      }
      const End end{entry.health.end_wanted, entry.health.command, info.exit_code, entry.health.sent};
      if (!recover(entry, end, info.exit_code, reason)) {
        ended(entry, State::exited, info.exit_code, std::move(reason));
      }
      break;
    }
  }
}

std::string LiveRegistry::remark(const Entry& entry) {
  if (entry.paused) {
    return "paused";
  }
  return entry.cut_off ? "cut off from ChromaDB and the outside, for it runs in the network of a parent that has been "
                         "replaced; it is restarted in the new one when it is quiet, within ten minutes"
                       : entry.note + (entry.note.empty() || entry.limit_note.empty() ? "" : "; ") + entry.limit_note;
}

void LiveRegistry::check_network(Entry& entry) {
  Worker& worker = entry.worker;
  const bool was = entry.cut_off;
  entry.cut_off = worker.network == Network::parent && worker.pid > 0 && !parts_.in_parent_network(worker.pid);
  if (entry.cut_off && !was) {
    log::warning({{names::field_worker, worker.id.value}, {names::field_message_id, names::message_id_worker_cut_off}},
                 "worker {} is still in the network of a parent that has been replaced, without ChromaDB", worker.name);
  }
}

void LiveRegistry::on_parent_replaced() {
  for (const auto& [id, entry] : entries_) {
    if (entry->worker.state == State::running && !entry->launch) {
      check_network(*entry);
      if (auto reason = remark(*entry); reason != entry->worker.reason) {
        entry->worker.reason = std::move(reason);
        changed(*entry);
      }
    }
  }
}

bool LiveRegistry::in_use() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const auto& item) { return item.second->worker.state == State::running; });
}

std::vector<Stranded> LiveRegistry::stranded() const {
  std::vector<Stranded> all;
  for (const auto& [id, entry] : entries_) {
    const bool cut_off = entry->cut_off && entry->worker.state == State::running;
    const bool interrupted = entry->interrupted && entry->worker.state == State::failed;
    if (cut_off || interrupted) {
      all.push_back({id, entry->paused, entry->init && entry->init->programs() > 0, interrupted});
    }
  }
  return all;
}

void LiveRegistry::lost_container(Entry& entry) {
  const std::string removed = "its container was removed from outside";
  if (is_unclaimed(entry.worker)) {
    if (entry.worker.state != State::stopping) {
      entry.worker.container = {};
      drop_warm(entry, removed);
    }
    return;
  }
  if (has_ended(entry.worker.state)) {
    entry.worker.reason += "; " + removed;  // its exit code is known and stays true
  } else if (!entry.health.failure.empty()) {
    entry.worker.pid = 0;  // it is being replaced anyway
  } else if (!recover(entry, End{entry.health.end_wanted, entry.health.command, {}}, entry.worker.exit_code, removed)) {
    ended(entry, State::failed, entry.worker.exit_code, removed);
  }
  entry.worker.container = {};
  changed(entry);
}

void LiveRegistry::ended(Entry& entry, State state, int exit_code, std::string reason) {
  Worker& worker = entry.worker;
  worker.state = state;
  worker.exit_code = exit_code;
  worker.reason = std::move(reason);
  worker.pid = 0;
  if (entry.init) {
    entry.init->fail_all({Errc::disconnected, "the worker has ended: " + worker.reason});
    entry.init.reset();
  }
  remove_run_folder(parts_.settings, worker.id);
  log::info({{names::field_worker, worker.id.value}, {names::field_message_id, names::message_id_worker_ended}},
            "worker {} is {}: {}", worker.name, name(state), worker.reason);
  (void)save_record(records(), worker);
  changed(entry);
}

void LiveRegistry::changed(Entry& entry) {
  follow_idleness(entry);
  if (!entry.worker.generation.empty()) {
    stock_changed();
  }
  if (listener_ != nullptr && entry.announced) {
    listener_->on_worker_changed(entry.worker);
  }
}

void LiveRegistry::erase(const WorkerId& id) {
  const auto node = entries_.extract(id);
  if (!node) {
    return;
  }
  (void)remove_record(records(), id);
  remove_run_folder(parts_.settings, id);
  if (node.mapped()->announced && listener_ != nullptr) {
    listener_->on_worker_removed(id);
  }
  if (!node.mapped()->worker.generation.empty()) {
    stock_changed();
  }
  if (const auto& claim = node.mapped()->reserved_for; !claim.value.empty()) {
    event::post(parts_.loop, "claim", alive_.wrap([this, claim] { reserve_warm(claim); }));
  }
}

}  // namespace hal::worker
