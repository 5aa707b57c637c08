#include "worker/live_registry.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "worker/container_spec.hpp"
#include "worker/live_entry.hpp"
#include "worker/naming.hpp"
#include "worker/record.hpp"
#include "worker/run_folder.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

namespace {

std::uint64_t now_usec() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count());
}

bool has_ended(State state) {
  return state == State::exited || state == State::failed;
}

}  // namespace

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
    if (worker->owner == owner && worker->name == name) {
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

void LiveRegistry::note_activity(const WorkerId& id, std::uint64_t usec) {
  if (Entry* found = entry(id)) {
    found->worker.last_activity_usec = std::max(found->worker.last_activity_usec, usec);
  }
}

std::string LiveRegistry::records() const {
  return parts_.settings.state_dir + "/worker";
}

// --- spawning ------------------------------------------------------------------------------------------------------

Result<Worker> LiveRegistry::plan(const SpawnRequest& request) const {
  const std::string profile_name = request.profile.empty() ? parts_.settings.default_profile : request.profile;
  const auto profile = parts_.settings.profiles.find(profile_name);
  if (profile == parts_.settings.profiles.end()) {
    return Error{Errc::invalid_argument, "profile " + text::printable(profile_name) + ": there is no such profile"};
  }
  if (!request.name.empty() && !text::is_name(request.name)) {
    return Error{Errc::invalid_argument,
                 "name " + text::printable(request.name) + ": must be 1 to 64 letters, digits, '.', '_' or '-'"};
  }
  Worker worker;
  worker.id = WorkerId{text::random_hex(12)};
  worker.name = request.name;
  worker.owner = request.owner;
  worker.profile = profile_name;
  worker.image = request.image.empty() ? profile->second.image : request.image;
  worker.created_usec = worker.last_activity_usec = now_usec();
  worker.limits.memory_bytes = request.memory_bytes.value_or(profile->second.limits.memory_bytes);
  worker.limits.cpus = request.cpus.value_or(profile->second.limits.cpus);
  worker.limits.pids = request.pids.value_or(profile->second.limits.pids);
  worker.read_only = request.read_only;
  worker.network = request.network;
  worker.command = request.command.empty() ? profile->second.command : request.command;
  worker.env = profile->second.env;
  for (const auto& [name, value] : request.env) {
    worker.env[name] = value;
  }
  worker.request_id = request.request_id;
  const auto known = parts_.servers();
  worker.servers = request.servers.value_or(known);
  for (const auto& server : worker.servers) {
    if (std::find(known.begin(), known.end(), server) == known.end()) {
      return Error{Errc::invalid_argument, "servers: there is no MCP server " + text::printable(server)};
    }
  }
  return worker;
}

Result<void> LiveRegistry::check_room(uid_t owner) {
  std::size_t owned = 0;
  Entry* oldest_ended = nullptr;
  for (const auto& [id, entry] : entries_) {
    if (entry->worker.owner != owner) {
      continue;
    }
    ++owned;
    const bool ended = has_ended(entry->worker.state);
    if (ended && (oldest_ended == nullptr || entry->worker.created_usec < oldest_ended->worker.created_usec)) {
      oldest_ended = entry.get();
    }
  }
  if (owned < limits::workers_per_owner && entries_.size() < limits::workers_total) {
    return {};
  }
  if (oldest_ended != nullptr) {
    remove(oldest_ended->worker.id, [](const Result<void>&) {});
    return {};
  }
  return Error{Errc::limit,
               fmt::format("{} workers exist ({} of uid {}); the limits are {} and {} of one user", entries_.size(),
                           owned, owner, limits::workers_total, limits::workers_per_owner)};
}

void LiveRegistry::spawn(SpawnRequest request, Done<WorkerId> done) {
  if (!request.request_id.empty()) {
    for (const auto& [id, entry] : entries_) {
      if (entry->worker.owner == request.owner && entry->worker.request_id == request.request_id) {
        if (entry->worker.state == State::creating && request.wait) {
          entry->spawn_waiters.push_back(std::move(done));
        } else {
          answer(std::move(done), Result<WorkerId>(id));
        }
        return;
      }
    }
  }
  auto worker = plan(request);
  auto room = worker ? check_room(request.owner) : Result<void>(worker.error());
  if (room && !parts_.runtime.up()) {
    room = Error{Errc::unavailable, "the container engine is not reachable"};
  }
  if (room && request.network == Network::parent && parts_.parent().value.empty()) {
    room = Error{Errc::unavailable, "the parent container is not running; see org.hal9000.Parent1"};
  }
  if (!room) {
    return answer(std::move(done), Result<WorkerId>(room.error()));
  }
  const WorkerId id = worker->id;
  auto fresh = std::make_unique<Entry>();
  fresh->worker = *std::move(worker);
  fresh->directory = std::move(request.directory);
  fresh->answer_early = !request.wait;
  fresh->spawn_waiters.push_back(std::move(done));
  Binder::OpenRequest open;
  open.user = request.owner;
  open.path = request.workspace;
  open.directory = fresh->directory.get();
  open.read_only = request.read_only;
  entries_.emplace(id, std::move(fresh));
  parts_.binder.open(open, alive_.wrap([this, id](Result<DetachedMount> mount) { opened(id, std::move(mount)); }));
}

void LiveRegistry::opened(const WorkerId& id, Result<DetachedMount> mount) {
  Entry* found = entry(id);
  if (found == nullptr) {
    return;
  }
  found->directory.reset();
  if (!mount) {
    return finish_spawn(id, mount.error().with("workspace"));
  }
  found->worker.workspace = mount->real_path;
  if (const auto named = claim_name(*found); !named) {
    return finish_spawn(id, named);
  }
  found->announced = true;
  if (listener_ != nullptr) {
    listener_->on_worker_added(found->worker);
  }
  if (found->answer_early) {
    for (auto& waiter : std::exchange(found->spawn_waiters, {})) {
      waiter(id);
    }
  }
  launch(*found, *std::move(mount), alive_.wrap([this, id](const Result<void>& result) { finish_spawn(id, result); }));
}

Result<void> LiveRegistry::claim_name(Entry& entry) {
  if (entry.worker.name.empty()) {
    entry.worker.name = default_name(entry.worker.workspace);
  }
  const Worker* other = find(entry.worker.owner, entry.worker.name);
  if (other == nullptr) {
    return {};
  }
  if (!has_ended(other->state)) {
    return Error{Errc::already_exists, fmt::format("name {}: in use by worker {} on {}", entry.worker.name,
                                                   other->id.value, text::printable(other->workspace))};
  }
  remove(other->id, [](const Result<void>&) {});  // a name belongs to the living
  return {};
}

void LiveRegistry::launch(Entry& entry, DetachedMount workspace, Done<void> done) {
  const WorkerId id = entry.worker.id;
  auto ready = make_run_folder(parts_.settings, entry.worker);
  if (ready) {
    ready = open_init_channel(entry);
  }
  auto socket = ready ? reopen_gateway_socket(id) : Result<UniqueFd>(ready.error());
  if (!socket) {
    return answer(std::move(done), Result<void>(socket.error()));
  }
  if (listener_ != nullptr) {
    listener_->on_gateway_socket(entry.worker, *std::move(socket));
  }
  const auto finished = [this, id, done = std::move(done)](Result<Worker> result) {
    Entry* launched = this->entry(id);
    if (launched == nullptr) {
      return;
    }
    const auto launch = std::move(launched->launch);  // ends with this function
    if (!result) {
      return done(result.error());
    }
    launched->worker = *std::move(result);
    if (const auto saved = save_record(records(), launched->worker); !saved) {
      log::error({{names::field_worker, id.value}}, "worker {}: {}; a restart of the daemon would end it",
                 launched->worker.name, saved.error().message);
    }
    log::info({{names::field_worker, id.value}}, "worker {} runs for uid {} on {} (container {})",
              launched->worker.name, launched->worker.owner, text::printable(launched->worker.workspace),
              launched->worker.container.value.substr(0, 12));
    changed(*launched);
    done({});
  };
  entry.launch =
      std::make_unique<Launch>(Launch::Context{parts_.loop, parts_.runtime, parts_.binder, parts_.settings},
                               entry.worker, *entry.init, parts_.parent(), std::move(workspace), alive_.wrap(finished));
}

void LiveRegistry::finish_spawn(const WorkerId& id, const Result<void>& result) {
  Entry* found = entry(id);
  if (found == nullptr) {
    return;
  }
  const auto waiters = std::exchange(found->spawn_waiters, {});
  if (!result) {
    log::warning({{names::field_worker, id.value}}, "a worker for uid {} could not be made: {}", found->worker.owner,
                 result.error().message);
    if (found->answer_early && found->announced && !found->removed) {
      ended(*found, State::failed, 0, result.error().message);
    } else {
      erase(id);
    }
  }
  for (const auto& waiter : waiters) {
    waiter(result ? Result<WorkerId>(id) : Result<WorkerId>(result.error()));
  }
}

Result<void> LiveRegistry::open_init_channel(Entry& entry) {
  const WorkerId id = entry.worker.id;
  auto channel = InitChannel::open(parts_.loop, run_folder(parts_.settings, id) + "/control.sock", "worker " + id.value,
                                   {[this, id](bool) {
                                      Entry* found = this->entry(id);
                                      if (found != nullptr && found->launch) {
                                        found->launch->on_init_connected();
                                      }
                                    },
                                    [this, id](const process::ExitStatus& status) {
                                      Entry* found = this->entry(id);
                                      if (found != nullptr && found->worker.state == State::running) {
                                        found->worker.reason = "the command " + status.describe();
                                      }
                                    }});
  if (!channel) {
    return channel.error();
  }
  entry.init = *std::move(channel);
  return {};
}

Result<UniqueFd> LiveRegistry::reopen_gateway_socket(const WorkerId& id) {
  return io::listen_unix(run_folder(parts_.settings, id) + "/mcp.sock", SOCK_STREAM, 0666);
}

// --- following the engine ------------------------------------------------------------------------------------------

void LiveRegistry::reconcile(Done<void> done) {
  const auto listed = [this, done = std::move(done)](Result<std::vector<ContainerInfo>> containers) {
    if (!containers) {
      return done(containers.error());
    }
    std::map<WorkerId, ContainerInfo> present;
    for (auto& container : *containers) {
      present.emplace(WorkerId{container.labels[names::label_id]}, container);
    }
    for (auto& record : load_records(records())) {
      if (entry(record.id) != nullptr) {
        continue;
      }
      const auto it = present.find(record.id);
      adopt(std::move(record), it == present.end() ? ContainerInfo{} : it->second);
    }
    for (const auto& [id, container] : present) {
      if (entry(id) == nullptr) {
        log::warning({{names::field_worker, id.value}}, "container {} belongs to no known worker; removing it",
                     container.id.value.substr(0, 12));
        parts_.runtime.remove(container.id, true, [](const Result<void>&) {});
        remove_run_folder(parts_.settings, id);
      }
    }
    std::vector<WorkerId> ids;
    for (const auto& [id, entry] : entries_) {
      if (!entry->launch && !entry->worker.container.value.empty()) {
        ids.push_back(id);
      }
    }
    const auto left = std::make_shared<std::size_t>(ids.size() + 1);
    const auto one_done = [left, done](const Result<void>&) {
      if (--*left == 0) {
        done({});
      }
    };
    for (const auto& id : ids) {
      refresh(id, one_done);
    }
    answer(Done<void>(one_done), Result<void>());
  };
  parts_.runtime.list({{names::label_role, names::role_worker}}, alive_.wrap(listed));
}

void LiveRegistry::adopt(Worker record, const ContainerInfo& info) {
  const WorkerId id = record.id;
  auto fresh = std::make_unique<Entry>();
  fresh->worker = std::move(record);
  fresh->worker.pid = 0;
  fresh->announced = true;
  Entry& adopted = *fresh;
  entries_.emplace(id, std::move(fresh));
  if (!info.id.value.empty()) {
    adopted.worker.container = info.id;
    if (const auto opened = open_init_channel(adopted); !opened) {
      log::error({{names::field_worker, id.value}}, "worker {}: {}", adopted.worker.name, opened.error().message);
    }
  } else if (!has_ended(adopted.worker.state)) {
    adopted.worker.state = State::failed;
    adopted.worker.reason = "its container was removed from outside";
    adopted.worker.container = {};
  }
  log::info({{names::field_worker, id.value}}, "worker {} taken up again", adopted.worker.name);
  if (listener_ != nullptr) {
    listener_->on_worker_added(adopted.worker);
  }
}

void LiveRegistry::on_container_event(const ContainerEvent& event) {
  Entry* found = entry_of(event.id);
  if (found == nullptr || found->launch) {
    return;  // a launch asks the engine itself
  }
  if (event.kind == ContainerEvent::Kind::out_of_memory) {
    found->out_of_memory = true;
    if (listener_ != nullptr) {
      listener_->on_limit_hit(found->worker.id, "memory");
    }
    return;
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
    if (now == nullptr || now->worker.container != container || now->launch) {
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
      if (worker.state != State::stopping) {
        worker.state = State::running;
        worker.reason = info.status == ContainerStatus::paused ? "paused" : "";
      }
      if (entry.init) {
        entry.init->set_container_pid(info.pid);
      }
      changed(entry);
      break;
    }
    case ContainerStatus::created:
    case ContainerStatus::exited:
    case ContainerStatus::dead: {
      if (worker.state == State::exited) {
        return;
      }
      std::string reason = worker.reason;
      if (info.oom_killed || (entry.out_of_memory && info.exit_code == 137)) {
        reason = fmt::format("out of memory: more than {} bytes were used", worker.limits.memory_bytes);
      } else if (reason.empty() || reason == "paused") {
        reason = fmt::format("the container ended with code {}", info.exit_code);
      }
      ended(entry, State::exited, info.exit_code, std::move(reason));
      break;
    }
  }
}

void LiveRegistry::lost_container(Entry& entry) {
  if (!has_ended(entry.worker.state)) {
    ended(entry, State::failed, entry.worker.exit_code, "its container was removed from outside");
  }
  entry.worker.container = {};
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
  log::info({{names::field_worker, worker.id.value}}, "worker {} is {}: {}", worker.name, name(state), worker.reason);
  if (!worker.container.value.empty()) {
    (void)save_record(records(), worker);
  }
  changed(entry);
}

void LiveRegistry::changed(Entry& entry) {
  if (listener_ != nullptr && entry.announced) {
    listener_->on_worker_changed(entry.worker);
  }
}

void LiveRegistry::erase(const WorkerId& id) {
  const auto node = entries_.extract(id);
  if (!node) {
    return;
  }
  remove_record(records(), id);
  remove_run_folder(parts_.settings, id);
  if (node.mapped()->announced && listener_ != nullptr) {
    listener_->on_worker_removed(id);
  }
}

// --- ending and changing workers -----------------------------------------------------------------------------------

void LiveRegistry::stop(const WorkerId& id, std::chrono::milliseconds timeout, Done<void> done) {
  Entry* found = running(id, done);
  if (found == nullptr) {
    return;
  }
  found->worker.state = State::stopping;
  changed(*found);
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(timeout);
  const auto stopped = [this, id, done = std::move(done)](Result<void> result) {
    if (Entry* now = entry(id); !result && now != nullptr && now->worker.state == State::stopping) {
      now->worker.state = State::running;  // the engine will tell if that is wrong
      changed(*now);
      return done(result.error());
    }
    refresh(id, done);
  };
  parts_.runtime.stop(found->worker.container, seconds, alive_.wrap(stopped));
}

void LiveRegistry::kill(const WorkerId& id, std::string signal, Done<void> done) {
  if (Entry* found = running(id, done)) {
    parts_.runtime.kill(found->worker.container, signal, std::move(done));
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
  if (!has_ended(found->worker.state)) {
    found->worker.state = State::stopping;
    changed(*found);
  }
  const auto removed = [this, id, done = std::move(done)](Result<void> result) {
    if (result) {
      if (Entry* now = entry(id); now != nullptr && now->init) {
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
  if (found->launch || found->worker.state == State::stopping) {
    return answer(
        std::move(done),
        Result<void>(Error{Errc::busy, fmt::format("worker {} is {}", found->worker.name, name(found->worker.state))}));
  }
  found->worker.state = State::creating;
  found->worker.reason = "restarting";
  ++found->worker.restarts;
  changed(*found);
  const auto removed = [this, id, done = std::move(done)](Result<void> result) {
    if (entry(id) == nullptr) {
      return done(Error{Errc::not_found, "the worker was removed"});
    }
    if (!result) {
      refresh(id, [done, result](const Result<void>&) { done(result.error()); });
      return;
    }
    reopen(id, done);
  };
  if (found->init) {
    found->init->fail_all({Errc::cancelled, "the worker is being restarted"});
    found->init.reset();
  }
  if (found->worker.container.value.empty()) {
    answer(Done<void>(alive_.wrap(removed)), Result<void>());
  } else {
    parts_.runtime.remove(std::exchange(found->worker.container, {}), true, alive_.wrap(removed));
  }
}

void LiveRegistry::reopen(const WorkerId& id, Done<void> done) {
  Entry* found = entry(id);
  Binder::OpenRequest open;
  open.user = found->worker.owner;
  open.path = found->worker.workspace;
  open.read_only = found->worker.read_only;
  const auto finished = [this, id, done = std::move(done)](const Result<void>& result) {
    if (Entry* now = entry(id); now != nullptr && now->removed) {
      erase(id);
    } else if (now != nullptr && !result) {
      ended(*now, State::failed, now->worker.exit_code, "restart: " + result.error().message);
    }
    done(result);
  };
  const auto opened = [this, id, finished](Result<DetachedMount> mount) {
    Entry* now = entry(id);
    if (now == nullptr || !mount) {
      return finished(mount ? Result<void>(Error{Errc::not_found, "the worker was removed"})
                            : Result<void>(mount.error()));
    }
    now->worker.reason.clear();
    launch(*now, *std::move(mount), alive_.wrap(finished));
  };
  parts_.binder.open(open, alive_.wrap(opened));
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
