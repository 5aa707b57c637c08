// The part of LiveRegistry that keeps warm workers and hands them out.

#include "base/limits.hpp"
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "worker/live_entry.hpp"
#include "worker/record.hpp"
#include "worker/run_folder.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

namespace {

/** What makes one container's limits another's; unset where they are the same. */
LimitChange change_of(const Limits& from, const Limits& to) {
  LimitChange change;
  if (to.memory_bytes != from.memory_bytes) {
    change.memory_bytes = to.memory_bytes;
  }
  if (to.cpus != from.cpus) {
    change.nano_cpus = static_cast<std::uint64_t>(std::llround(to.cpus * 1e9));
  }
  if (to.pids != from.pids) {
    change.pids = to.pids;
  }
  return change;
}

}  // namespace

std::string LiveRegistry::defect_of(const Entry& entry) const {
  if (!entry.init || !entry.init->connected()) {
    return "its hal9000-init is not connected";
  }
  if (entry.paused) {
    return "it is paused";
  }
  if (parts_.parent().value.empty()) {
    return "there is no parent, whose network it would need";
  }
  return parts_.in_parent_network(entry.worker.pid) ? "" : "it is in the network of a parent that has been replaced";
}

std::vector<WarmWorker> LiveRegistry::stock() const {
  std::vector<WarmWorker> stock;
  for (const auto& [id, entry] : entries_) {
    if (entry->worker.state == State::warm) {
      stock.push_back({id, entry->worker.generation, entry->worker.created_usec, defect_of(*entry)});
    }
  }
  std::sort(stock.begin(), stock.end(), [](const auto& a, const auto& b) { return a.created_usec < b.created_usec; });
  return stock;
}

std::size_t LiveRegistry::starting() const {
  return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& item) {
    return is_unclaimed(item.second->worker) && item.second->launch != nullptr;
  }));
}

std::size_t LiveRegistry::claiming() const {
  return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& item) {
    const Worker& worker = item.second->worker;
    return !worker.generation.empty() && !is_unclaimed(worker) && item.second->launch != nullptr;
  }));
}

std::size_t LiveRegistry::claimed() const {
  return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& item) {
    const Worker& worker = item.second->worker;
    return !worker.generation.empty() && !is_unclaimed(worker) && !has_ended(worker.state);
  }));
}

void LiveRegistry::stock_changed() {
  if (stock_listener_ != nullptr) {
    stock_listener_->on_stock_changed();
  }
}

// --- made and found again ------------------------------------------------------------------------------------------

void LiveRegistry::make_warm(std::string generation, Done<WorkerId> done) {
  const auto& profile = *parts_.settings.profiles.find(parts_.settings.default_profile);
  auto fresh = std::make_unique<Entry>();
  Worker& worker = fresh->worker;
  worker.id = WorkerId{text::random_hex(12)};
  worker.name = "warm-" + worker.id.value;
  worker.profile = profile.first;
  worker.image = profile.second.image;
  worker.created_usec = worker.last_activity_usec = now_usec();
  worker.limits = profile.second.limits;
  worker.env = profile.second.env;
  worker.generation = std::move(generation);
  auto possible = check_makeable(worker);
  if (possible && entries_.size() >= limits::workers_total) {
    possible = Error{Errc::limit, fmt::format("{} workers exist, which is the limit", entries_.size())};
  }
  const WorkerId id = worker.id;
  Entry& entry = *entries_.emplace(id, std::move(fresh)).first->second;
  if (possible) {
    possible = open_doors(entry);
  }
  if (!possible) {
    erase(id);
    return answer(std::move(done), Result<WorkerId>(possible.error()));
  }
  entry.launch = new_launch(
      entry, [this, id, done = std::move(done)](Result<Worker> result) { made_warm(id, std::move(result), done); });
  entry.launch->make_warm(parts_.parent());
}

void LiveRegistry::made_warm(const WorkerId& id, Result<Worker>&& result, const Done<WorkerId>& done) {
  Entry* found = entry(id);
  if (found == nullptr) {
    return;
  }
  const auto launch = std::move(found->launch);  // ends with this function
  if (!result) {
    erase(id);
    return done(result.error());
  }
  found->worker = *std::move(result);
  const auto saved = save_record(records(), found->worker);
  auto socket = saved ? reopen_gateway_socket(id) : Result<UniqueFd>(saved.error());
  if (!socket) {
    drop_warm(*found, socket.error().message);
    return done(socket.error());
  }
  log::info({{names::field_worker, id.value}}, "worker {} is warm (container {})", id.value,
            found->worker.container.value.substr(0, 12));
  found->announced = true;
  if (listener_ != nullptr) {
    listener_->on_worker_added(found->worker);
    listener_->on_gateway_socket(found->worker, *std::move(socket));
  }
  stock_changed();
  done(id);
}

void LiveRegistry::adopt_warm(Worker record, const ContainerInfo& info) {
  const WorkerId id = record.id;
  auto fresh = std::make_unique<Entry>();
  fresh->worker = std::move(record);
  fresh->worker.state = State::creating;
  fresh->worker.container = info.id;
  Entry& entry = *entries_.emplace(id, std::move(fresh)).first->second;
  if (info.status != ContainerStatus::running) {
    return drop_warm(entry, info.id.value.empty() ? "its container is gone" : "its container does not run");
  }
  if (const auto opened = open_doors(entry); !opened) {
    return drop_warm(entry, opened.error().message);
  }
  const auto taken_up = [id](const Result<WorkerId>& result) {
    if (!result) {
      log::warning({{names::field_worker, id.value}}, "warm worker {} of an earlier hal9000d is removed: {}", id.value,
                   result.error().message);
    }
  };
  entry.launch =
      new_launch(entry, [this, id, taken_up](Result<Worker> result) { made_warm(id, std::move(result), taken_up); });
  entry.launch->take_up();
}

void LiveRegistry::drop_warm(Entry& entry, const std::string& reason) {
  const WorkerId id = entry.worker.id;
  log::warning({{names::field_worker, id.value}}, "warm worker {} is removed: {}", id.value, reason);
  if (!entry.worker.container.value.empty()) {
    discard(entry.worker.container, [](const Result<void>&) {});
  }
  erase(id);
}

void LiveRegistry::retire(const WorkerId& id, const std::string& reason, Done<void> done) {
  const Entry* found = entry(id);
  if (found == nullptr || found->worker.state != State::warm) {
    return answer(std::move(done), Result<void>(Error{Errc::not_found, "there is no warm worker " + id.value}));
  }
  log::info({{names::field_worker, id.value}}, "warm worker {} is given up: {}", id.value, reason);
  remove(id, std::move(done));
}

// --- claimed -------------------------------------------------------------------------------------------------------

bool LiveRegistry::warm_would_do(const Worker& asked) const {
  const auto& settings = parts_.settings;
  return asked.profile == settings.default_profile && asked.network == Network::parent &&
         asked.image == settings.profiles.at(settings.default_profile).image;
}

LiveRegistry::Entry* LiveRegistry::find_warm(const Worker& asked) const {
  Entry* best = nullptr;
  const auto rank = [this](const Entry& entry) {
    return std::pair(entry.worker.generation != preferred_generation_, entry.worker.created_usec);
  };
  for (const auto& [id, entry] : entries_) {
    const Worker& worker = entry->worker;
    if (worker.state == State::warm && worker.profile == asked.profile && worker.image == asked.image &&
        asked.network == Network::parent && (best == nullptr || rank(*entry) < rank(*best)) &&
        defect_of(*entry).empty()) {
      best = entry.get();
    }
  }
  return best;
}

Error LiveRegistry::no_warm(const Worker& asked) const {
  const auto& settings = parts_.settings;
  if (warm_would_do(asked)) {
    return {Errc::unavailable,
            "no worker is warm: " + (stock_listener_ != nullptr ? stock_listener_->shortage() : "there is no pool")};
  }
  const std::string what = asked.network == Network::isolated          ? "network isolated"
                           : asked.profile != settings.default_profile ? "profile " + asked.profile
                                                                       : "image " + text::printable(asked.image);
  return {Errc::unavailable, fmt::format("no worker is warm with {}: the pool is of profile {}, with its image and in "
                                         "the parent's network",
                                         what, settings.default_profile)};
}

/** The warm worker becomes the one that was asked for, under its own id. */
WorkerId LiveRegistry::take_warm(Entry& asked, Entry& warm) {
  const WorkerId id = warm.worker.id;
  const WorkerId asked_id = asked.worker.id;
  Worker claimed = std::move(asked.worker);
  claimed.id = id;
  claimed.container = warm.worker.container;
  claimed.pid = warm.worker.pid;
  claimed.generation = warm.worker.generation;
  warm.limit_change = change_of(warm.worker.limits, claimed.limits);
  warm.worker = std::move(claimed);
  warm.answer_early = asked.answer_early;
  warm.claim = asked.claim;
  warm.spawn_waiters = std::move(asked.spawn_waiters);
  entries_.erase(asked_id);
  stock_changed();
  return id;
}

void LiveRegistry::bind(Entry& entry, Mounts mounts, Done<void> done) {
  const WorkerId id = entry.worker.id;
  // The token stays, mcp.json and settings.json have the worker's servers from now on.
  const auto others = other_servers(entry.worker);
  if (const auto written = make_run_folder(parts_.settings, entry.worker, others); !written) {
    const auto removed = [done, error = written.error()](const Result<void>&) { done(error); };
    return parts_.runtime.remove(std::exchange(entry.worker.container, {}), true, alive_.wrap(removed));
  }
  if (listener_ != nullptr) {
    listener_->on_worker_claimed(entry.worker);
  }
  changed(entry);
  entry.launch = new_launch(
      entry, [this, id, done = std::move(done)](Result<Worker> result) { launched(id, std::move(result), done); });
  entry.launch->bind(std::move(mounts), entry.limit_change);
}

}  // namespace hal::worker
