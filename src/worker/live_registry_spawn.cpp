// The part of LiveRegistry that makes workers.

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "worker/container_spec.hpp"
#include "worker/live_entry.hpp"
#include "worker/naming.hpp"
#include "worker/record.hpp"
#include "worker/run_folder.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

namespace {

/** Workers made while the removal of ended ones, which make room for them, is under way. */
constexpr std::size_t room_ahead = 8;

std::uint64_t now_usec() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count());
}

}  // namespace

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
  auto known = parts_.servers();
  const auto grants = grants_of(parts_.settings, worker);
  std::erase_if(known, [&grants](const std::string& server) { return !may_use(grants, server); });
  worker.servers = request.servers.value_or(known);
  for (const auto& server : worker.servers) {
    // One answer for both: who may not use a server does not learn that it exists.
    if (std::find(known.begin(), known.end(), server) == known.end()) {
      return Error{Errc::invalid_argument,
                   "servers: there is no MCP server " + text::printable(server) + " for this user and profile"};
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
  const bool removals_fail =
      owned >= limits::workers_per_owner + room_ahead || entries_.size() >= limits::workers_total + room_ahead;
  if (oldest_ended != nullptr && !removals_fail) {
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
    launched->note = launched->worker.reason;
    if (const auto saved = save_record(records(), launched->worker); !saved) {
      // Without it the next daemon would not know whose the container is, and remove it.
      const auto removed = [done, error = saved.error()](const Result<void>&) { done(error); };
      return parts_.runtime.remove(std::exchange(launched->worker.container, {}), true, alive_.wrap(removed));
    }
    log::info({{names::field_worker, id.value}, {names::field_message_id, names::message_id_worker_running}},
              "worker {} runs for uid {} on {} (container {})", launched->worker.name, launched->worker.owner,
              text::printable(launched->worker.workspace), launched->worker.container.value.substr(0, 12));
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
    log::warning({{names::field_worker, id.value}, {names::field_message_id, names::message_id_worker_not_made}},
                 "a worker for uid {} could not be made: {}", found->worker.owner, result.error().message);
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
                                        found->command_end = "the command " + status.describe();
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

}  // namespace hal::worker
