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
    if (entry->worker.owner != owner || is_unclaimed(entry->worker)) {
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

Result<void> LiveRegistry::check_makeable(const Worker& worker) const {
  if (!parts_.runtime.up()) {
    return Error{Errc::unavailable, "the container engine is not reachable"};
  }
  if (worker.network == Network::parent && parts_.parent().value.empty()) {
    return Error{Errc::unavailable, "the parent container is not running; see org.hal9000.Parent1"};
  }
  return {};
}

std::vector<Binder::OpenRequest> LiveRegistry::mounts_of(const Worker& worker, int directory) const {
  Binder::OpenRequest workspace;
  workspace.what = "workspace";
  workspace.user = worker.owner;
  workspace.path = worker.workspace;
  workspace.directory = directory;
  workspace.read_only = worker.read_only;
  Binder::OpenRequest home;
  home.what = "open the owner's Claude home";
  home.user = worker.owner;
  home.path = fmt::format("{}/user/{}", parts_.settings.state_dir, worker.owner);
  home.create = true;
  home.inherit = true;
  return {workspace, home};
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
  auto possible = worker ? check_room(request.owner) : Result<void>(worker.error());
  const bool may_claim = possible && request.claim != Claim::never && find_warm(*worker) != nullptr;
  if (possible && !may_claim && request.claim == Claim::require) {
    possible = no_warm(*worker);
    if (stock_listener_ != nullptr && warm_would_do(*worker)) {
      stock_listener_->on_demand(false);
    }
  } else if (possible && !may_claim) {
    possible = check_makeable(*worker);
  }
  if (!possible) {
    return answer(std::move(done), Result<WorkerId>(possible.error()));
  }
  const WorkerId id = worker->id;
  auto fresh = std::make_unique<Entry>();
  fresh->worker = *std::move(worker);
  fresh->worker.workspace = request.workspace;
  fresh->directory = std::move(request.directory);
  fresh->answer_early = !request.wait;
  fresh->claim = request.claim;
  fresh->spawn_waiters.push_back(std::move(done));
  auto mounts = mounts_of(fresh->worker, fresh->directory.get());
  entries_.emplace(id, std::move(fresh));
  const auto opened = [this, id](Result<std::vector<DetachedMount>> result) { this->opened(id, std::move(result)); };
  parts_.binder.open(std::move(mounts), alive_.wrap(opened));
}

void LiveRegistry::opened(const WorkerId& id, Result<std::vector<DetachedMount>> opened) {
  Entry* found = entry(id);
  if (found == nullptr) {
    return;
  }
  found->directory.reset();
  if (!opened) {
    return finish_spawn(id, opened.error());
  }
  Mounts mounts{std::move(opened->at(0)), std::move(opened->at(1))};
  found->worker.workspace = mounts.workspace.real_path;
  if (const auto named = claim_name(*found); !named) {
    return finish_spawn(id, named);
  }
  WorkerId made = id;
  Entry* warm = nullptr;
  if (found->claim != Claim::never && mounts.mapped() && warm_would_do(found->worker)) {
    warm = find_warm(found->worker);
    if (warm != nullptr && !remove_record(records(), warm->worker.id)) {
      warm = nullptr;  // a crash would make it warm again, with somebody's project in it
    }
    if (stock_listener_ != nullptr) {
      stock_listener_->on_demand(warm != nullptr);
    }
  }
  if (warm != nullptr) {
    made = take_warm(*found, *warm);
    found = warm;
  } else if (found->claim == Claim::require) {
    const Error unmapped{Errc::unavailable,
                         fmt::format("{}: its file system has no id-mapped mounts, which a warm worker needs",
                                     mounts.workspace.real_path)};
    return finish_spawn(id, mounts.mapped() ? no_warm(found->worker) : unmapped);
  } else if (const auto makeable = check_makeable(found->worker); !makeable) {
    return finish_spawn(id, makeable);
  }
  if (!std::exchange(found->announced, true) && listener_ != nullptr) {
    listener_->on_worker_added(found->worker);
  }
  if (found->answer_early) {
    for (auto& waiter : std::exchange(found->spawn_waiters, {})) {
      waiter(made);
    }
  }
  const auto finished = [this, made](const Result<void>& result) { finish_spawn(made, result); };
  if (warm != nullptr) {
    bind(*found, std::move(mounts), alive_.wrap(finished));
  } else {
    launch(*found, std::move(mounts), alive_.wrap(finished));
  }
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

std::vector<std::string> LiveRegistry::other_servers(const Worker& worker) const {
  auto others = parts_.servers();
  const auto* owner = grants_of(parts_.settings, worker).back();
  std::erase_if(others, [&worker, owner](const std::string& server) {
    const auto& own = worker.servers;
    return !owner->may_use(server) || std::find(own.begin(), own.end(), server) != own.end();
  });
  return others;
}

Result<void> LiveRegistry::open_doors(Entry& entry) {
  const auto made = make_run_folder(parts_.settings, entry.worker, other_servers(entry.worker));
  return made ? open_init_channel(entry) : made;
}

std::unique_ptr<Launch> LiveRegistry::new_launch(Entry& entry, Done<Worker> done) {
  const auto own_network = [this, id = entry.worker.id](pid_t pid, Done<void> made) {
    Entry* found = this->entry(id);
    if (found == nullptr || listener_ == nullptr) {
      return answer(std::move(made), Result<void>());
    }
    found->worker.pid = pid;
    listener_->on_own_network(found->worker, std::move(made));
  };
  return std::make_unique<Launch>(
      Launch::Context{parts_.loop, parts_.runtime, parts_.binder, parts_.settings, alive_.wrap(own_network)},
      entry.worker, *entry.init, alive_.wrap(std::move(done)));
}

void LiveRegistry::launch(Entry& entry, Mounts mounts, Done<void> done) {
  const WorkerId id = entry.worker.id;
  const auto ready = open_doors(entry);
  auto socket = ready ? reopen_gateway_socket(id) : Result<UniqueFd>(ready.error());
  if (!socket) {
    return answer(std::move(done), Result<void>(socket.error()));
  }
  if (listener_ != nullptr) {
    listener_->on_gateway_socket(entry.worker, *std::move(socket));
  }
  entry.launch = new_launch(
      entry, [this, id, done = std::move(done)](Result<Worker> result) { launched(id, std::move(result), done); });
  entry.launch->make(parts_.parent(), std::move(mounts));
}

/** The command of a worker runs, or does not. */
void LiveRegistry::launched(const WorkerId& id, Result<Worker>&& result, const Done<void>& done) {
  Entry* found = entry(id);
  if (found == nullptr) {
    return;
  }
  const auto launch = std::move(found->launch);  // ends with this function
  if (!result) {
    return done(result.error());
  }
  found->worker = *std::move(result);
  found->note = found->worker.reason;
  if (const auto saved = save_record(records(), found->worker); !saved) {
    // Without it the next daemon would not know whose the container is, and remove it.
    const auto removed = [done, error = saved.error()](const Result<void>&) { done(error); };
    return parts_.runtime.remove(std::exchange(found->worker.container, {}), true, alive_.wrap(removed));
  }
  log::info({{names::field_worker, id.value}, {names::field_message_id, names::message_id_worker_running}},
            "worker {} runs for uid {} on {} (container {})", found->worker.name, found->worker.owner,
            text::printable(found->worker.workspace), found->worker.container.value.substr(0, 12));
  changed(*found);
  done({});
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
                                   {[this, id](bool main_started) {
                                      Entry* found = this->entry(id);
                                      if (found != nullptr && found->launch) {
                                        if (main_started && is_unclaimed(found->worker)) {
                                          found->launch->cancel({Errc::internal, "it runs somebody's command"});
                                        }
                                        found->launch->on_init_connected();
                                      }
                                    },
                                    [this, id](const process::ExitStatus& status) {
                                      Entry* found = this->entry(id);
                                      if (found != nullptr && found->worker.state == State::running) {
                                        found->command_end = "the command " + status.describe();
                                        found->health.command = status;
                                      }
                                    },
                                    [this, id](const std::string& what) { silent(id, what); },
                                    [this, id] {
                                      if (Entry* found = this->entry(id)) {
                                        cure(*found);
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
