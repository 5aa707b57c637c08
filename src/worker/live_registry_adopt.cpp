// The part of LiveRegistry that finds again what an earlier daemon made, and removes what it left half made.

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/live_entry.hpp"
#include "worker/record.hpp"
#include "worker/run_folder.hpp"

#include <algorithm>
#include <utility>

namespace hal::worker {

namespace {

bool runs(ContainerStatus status) {
  return status == ContainerStatus::running || status == ContainerStatus::paused;
}

}  // namespace

void LiveRegistry::reconcile(Done<void> done) {
  const auto listed = [this, done = std::move(done)](const Result<std::vector<ContainerInfo>>& containers) {
    if (!containers) {
      return done(containers.error());
    }
    take_up(*containers);
    const auto strays = strays_among(*containers);
    sweep_folders();
    reconciled_ = true;
    std::vector<WorkerId> ids;
    for (const auto& [id, entry] : entries_) {
      if (!entry->launch && !entry->worker.container.value.empty()) {
        ids.push_back(id);
      }
    }
    const auto left = std::make_shared<std::size_t>(ids.size() + strays.size() + 1);
    const auto one_done = [left, done](const Result<void>&) {
      if (--*left == 0) {
        done({});
      }
    };
    for (const auto& id : ids) {
      refresh(id, one_done);
    }
    for (const auto& container : strays) {
      discard(container, alive_.wrap(one_done));  // awaited, for a container of the same name may be made next
    }
    answer(Done<void>(one_done), Result<void>());
  };
  parts_.runtime.list({{names::label_role, names::role_worker}}, alive_.wrap(listed));
}

void LiveRegistry::take_up(const std::vector<ContainerInfo>& containers) {
  for (auto& record : load_records(records())) {
    if (entry(record.id) != nullptr) {
      continue;
    }
    // By the container's id, not the worker's: a restart that was cut short leaves another one of the same worker, in
    // which neither its project nor its command need be. Or the old one, which the engine may be removing just now.
    const auto own = std::find_if(containers.begin(), containers.end(), [&record](const ContainerInfo& info) {
      return info.id == record.container && record.state != State::creating;
    });
    const auto& info = own == containers.end() ? ContainerInfo{} : *own;
    if (is_unclaimed(record)) {
      adopt_warm(std::move(record), info);
    } else {
      adopt(std::move(record), info);
    }
  }
}

void LiveRegistry::adopt(Worker record, const ContainerInfo& info) {
  const WorkerId id = record.id;
  auto fresh = std::make_unique<Entry>();
  fresh->worker = std::move(record);
  fresh->worker.pid = 0;
  fresh->health.replaced = taken_up_replacements(fresh->worker.replaced_usec, parts_.loop.now(), now_usec());
  Entry& adopted = *fresh;
  entries_.emplace(id, std::move(fresh));
  if (info.id.value.empty()) {
    adopted.worker.container = {};
    adopted.interrupted = adopted.worker.state == State::creating;
    if (adopted.interrupted) {  // and the record goes on saying so, until it is begun again
      adopted.worker.state = State::failed;
      adopted.worker.reason = "its restart was cut short by the end of hal9000d";
    }
  } else if (runs(info.status)) {
    if (const auto opened = open_init_channel(adopted); !opened) {
      log::error({{names::field_worker, id.value}}, "worker {}: {}", adopted.worker.name, opened.error().message);
    }
  }
  log::info({{names::field_worker, id.value}}, "worker {} taken up again", adopted.worker.name);
  adopted.announced = true;
  if (listener_ != nullptr) {
    listener_->on_worker_added(adopted.worker);
  }
  if (info.id.value.empty() && !has_ended(adopted.worker.state)) {
    lost_container(adopted);
  }
}

void LiveRegistry::discard(const ContainerId& container, Done<void> done) {
  parts_.runtime.remove(container, true, [container, done = std::move(done)](const Result<void>& removed) {
    if (!removed) {
      log::warning({}, "container {} cannot be removed: {}; it is tried again when the engine or hal9000d starts",
                   container.value.substr(0, 12), removed.error().message);
    }
    done(removed);
  });
}

std::vector<ContainerId> LiveRegistry::strays_among(const std::vector<ContainerInfo>& containers) const {
  std::vector<ContainerId> strays;
  for (const auto& container : containers) {
    const auto label = container.labels.find(names::label_id);
    const WorkerId id{label == container.labels.end() ? "" : label->second};
    const Entry* of = entry(id);
    if (of != nullptr && (of->launch || of->replacing || of->worker.container == container.id)) {
      continue;
    }
    log::warning({{names::field_worker, id.value}}, "container {} {}; removing it", container.id.value.substr(0, 12),
                 of == nullptr ? "belongs to no known worker" : "is not the one its worker has");
    strays.push_back(container.id);
  }
  return strays;
}

void LiveRegistry::look_for_strays(const ContainerEvent& event) {
  // A request of an earlier daemon's that the engine was still busy with when that ended. The event may be an old one.
  const auto role = event.labels.find(names::label_role);
  const auto id = event.labels.find(names::label_id);
  const bool new_worker =
      (event.kind == ContainerEvent::Kind::created || event.kind == ContainerEvent::Kind::started) &&
      role != event.labels.end() && role->second == names::role_worker;
  if (!reconciled_ || !new_worker || (id != event.labels.end() && entry(WorkerId{id->second}) != nullptr)) {
    return;
  }
  const auto listed = [this](const Result<std::vector<ContainerInfo>>& containers) {
    for (const auto& stray : containers ? strays_among(*containers) : std::vector<ContainerId>()) {
      discard(stray, [](const Result<void>&) {});
    }
  };
  parts_.runtime.list({{names::label_role, names::role_worker}}, alive_.wrap(listed));
}

void LiveRegistry::sweep_folders() {
  for (const auto& id : run_folders(parts_.settings)) {
    const Entry* of = entry(id);
    if (of == nullptr || has_ended(of->worker.state)) {
      remove_run_folder(parts_.settings, id);
    }
  }
}

}  // namespace hal::worker
