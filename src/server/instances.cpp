#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "server/supervisor_impl.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::server {

namespace {

constexpr std::chrono::milliseconds unknown_grace{5000};
/** After a crash loop of the second process of a shared server. */
constexpr std::chrono::milliseconds second_given_up{300'000};

/** In [0, 1). */
double chance() {
  constexpr double two_to_53 = 9007199254740992.0;
  return static_cast<double>(text::random_u64() >> 11U) / two_to_53;
}

}  // namespace

std::optional<NamespaceId> namespace_id(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    return std::nullopt;
  }
  return NamespaceId{status.st_dev, status.st_ino};
}

std::optional<NamespaceId> network_namespace_of(pid_t pid) {
  struct stat status {};
  if (pid <= 0 || ::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &status) != 0) {
    return std::nullopt;
  }
  return NamespaceId{status.st_dev, status.st_ino};
}

void Supervisor::Impl::launch(Entry& entry, std::optional<std::string> session) {
  if (instance_count() >= options_.max_instances) {
    failed(entry, fmt::format("{} processes run already", options_.max_instances), {}, session);
    return;
  }
  if (std::exchange(entry.after_failure, false)) {
    ++entry.server.restarts;
  }
  const auto& config = entry.server.config;
  const InstanceId id{text::random_u64()};
  auto& instance = entry.instances[id];
  instance.session = std::move(session);
  if (config.network == Network::parent) {
    instance.network = network_id_;
  }
  launcher_.start({id, config, network_.get()},
                  [weak = weak_from_this(), name = config.name, id](Result<Launched> launched) {
                    if (const auto self = weak.lock()) {
                      self->on_launched(name, id, std::move(launched));
                    }
                  });
}

void Supervisor::Impl::on_launched(const std::string& name, InstanceId id, Result<Launched> launched) {
  auto* entry = entry_of(name);
  if (entry == nullptr || !entry->instances.contains(id)) {
    if (!launched && leaving_.erase(id) > 0) {
      finish_stop_all();
    }
    return;  // it is being ended; its stdin closes with `launched`
  }
  auto& instance = entry->instances[id];
  if (!launched) {
    const auto former = std::exchange(instance, {});
    entry->instances.erase(id);
    if (former.phase != Phase::stopping && is_second(*entry, former)) {
      second_failed(*entry, launched.error().message, {}, *former.session);
      tell_unavailable(name, former.session, launched.error().message, std::nullopt);
    } else if (former.phase != Phase::stopping) {
      failed(*entry, launched.error().message, {}, former.session);
    }
    on_ended(*entry);
    return;
  }
  instance.pid = launched->main_pid;
  instance.unit = launched->unit;
  instance.started = loop_.now();
  if (instance.phase == Phase::starting) {
    instance.phase = Phase::running;
    log::info({{names::field_server, name}}, "MCP server {} runs, process {}{}{}", name, instance.pid,
              instance.unit.empty() ? "" : " of ", instance.unit);
    if (connected_) {
      hand_over(*entry, id, *std::move(launched));
    } else {
      end(*entry, id, "the gateway is gone");
    }
  }
  refresh(*entry);
}

void Supervisor::Impl::hand_over(Entry& entry, InstanceId id, Launched launched) {
  auto& instance = entry.instances[id];
  instance.announced = true;
  entry.requested = entry.requested && is_second(entry, instance);
  // Shared, for a std::function must be copyable.
  const auto stdio = std::make_shared<Launched>(std::move(launched));
  announcer_.post(
      [name = entry.server.config.name, id, session = instance.session, stdio](Supervisor::Listener& listener) {
        listener.on_instance_ready(name, id, session, std::move(stdio->to_server), std::move(stdio->from_server));
      });
  if (!is_second(entry, instance)) {
    answer_all(entry.start_waiters, {});
  }
}

void Supervisor::Impl::request_second(Entry& entry, const std::string& session) {
  const auto& name = entry.server.config.name;
  const auto live = std::find_if(entry.instances.begin(), entry.instances.end(), [&](const auto& pair) {
    return is_second(entry, pair.second) && pair.second.phase != Phase::stopping;
  });
  if (live != entry.instances.end() && live->second.session == session) {
    return;  // on its way
  }
  if (live != entry.instances.end() || instance_count() >= options_.max_instances) {
    return tell_unavailable(name, session, fmt::format("{} has a second process already, or too many run", name),
                            std::nullopt);
  }
  if (const auto now = loop_.now(); entry.second_retry_at > now) {
    return tell_unavailable(name, session, fmt::format("{}: its second process fails", name),
                            std::chrono::ceil<std::chrono::milliseconds>(entry.second_retry_at - now));
  }
  launch(entry, session);
  refresh(entry);
}

/** Who asked for it asks again when it is needed; not sooner than after a wait that grows. */
void Supervisor::Impl::second_failed(Entry& entry, const std::string& reason, std::chrono::steady_clock::duration ran,
                                     const std::string& session) {
  const auto now = loop_.now();
  const auto delay = entry.second_backoff.failed(now, ran, chance());
  entry.second_retry_at = now + delay.value_or(second_given_up);
  log::debug({{names::field_server, entry.server.config.name}}, "the second process for {}: {}", session, reason);
}

void Supervisor::Impl::on_instance_exit(InstanceId id, const InstanceExit& exit) {
  if (leaving_.erase(id) > 0) {
    finish_stop_all();
    return;
  }
  for (auto& [name, entry] : entries_) {
    const auto found = entry.instances.find(id);
    if (found == entry.instances.end()) {
      continue;
    }
    const auto instance = found->second;
    entry.instances.erase(found);
    const bool expected = instance.phase == Phase::stopping || !connected_;
    if (instance.announced) {
      tell_gone(name, id, exit.reason);
    }
    if (expected) {
      log::info({{names::field_server, name}}, "MCP server {}: process {} {}", name, instance.pid, exit.reason);
    } else if (is_second(entry, instance)) {
      log::warning({{names::field_server, name}}, "MCP server {}: its second process {} {}", name, instance.pid,
                   exit.reason);
      second_failed(entry, exit.reason, loop_.now() - instance.started, *instance.session);
    } else if (entry.server.config.mode == Mode::shared) {
      failed(entry, exit.reason, loop_.now() - instance.started, std::nullopt);
    } else if (!exit.clean) {
      log::warning({{names::field_server, name}}, "MCP server {}: process {} of a session {}", name, instance.pid,
                   exit.reason);
    }
    on_ended(entry);
    return;
  }
}

void Supervisor::Impl::on_ended(Entry& entry) {
  if (entry.instances.empty()) {
    answer_all(entry.stop_waiters, {});
  }
  finish_stop_all();
  ensure(entry);
}

void Supervisor::Impl::end(Entry& entry, InstanceId id, const std::string& reason) {
  auto& instance = entry.instances[id];
  if (instance.phase == Phase::stopping) {
    return;
  }
  instance.phase = Phase::stopping;
  if (std::exchange(instance.announced, false)) {
    tell_gone(entry.server.config.name, id, reason);
  }
  launcher_.stop(id, entry.server.config.stop_timeout);
}

void Supervisor::Impl::end_all(Entry& entry, const std::string& reason) {
  for (const auto& [id, instance] : entry.instances) {
    end(entry, id, reason);
  }
}

void Supervisor::Impl::failed(Entry& entry, const std::string& reason, std::chrono::steady_clock::duration ran,
                              const std::optional<std::string>& session) {
  const auto& name = entry.server.config.name;
  const auto now = loop_.now();
  const auto delay = entry.backoff.failed(now, ran, chance());
  entry.after_failure = true;
  if (delay) {
    entry.failure = reason;
    entry.retry_at = now + *delay;
    entry.retry->arm(*delay);
    log::warning({{names::field_server, name}}, "MCP server {}: {}; next start in {} ms", name, reason, delay->count());
  } else {
    entry.failed = true;
    entry.failure = "it fails again and again and was given up: " + reason;
    log::error({{names::field_server, name}, {names::field_message_id, names::message_id_server_failed}},
               "MCP server {}: {}", name, entry.failure);
  }
  if (entry.server.config.mode == Mode::session || !delay || std::exchange(entry.requested, false)) {
    tell_unavailable(name, session, entry.failure, delay);
  }
  answer_all(entry.start_waiters, Error{Errc::unavailable, fmt::format("{}: {}", name, reason)});
}

void Supervisor::Impl::tell_gone(const std::string& name, InstanceId id, const std::string& reason) {
  announcer_.post([name, id, reason](Supervisor::Listener& listener) { listener.on_instance_gone(name, id, reason); });
}

void Supervisor::Impl::tell_unavailable(const std::string& name, const std::optional<std::string>& session,
                                        const std::string& reason, std::optional<std::chrono::milliseconds> retry_in) {
  announcer_.post([name, session, reason, retry_in](Supervisor::Listener& listener) {
    listener.on_server_unavailable(name, session, reason, retry_in);
  });
}

void Supervisor::Impl::reconcile(std::vector<HeldInstance> held) {
  connected_ = true;
  if (adoption_ == Adoption::done) {
    match(held);
    ensure_all();
    return;
  }
  held_meanwhile_ = std::move(held);
  if (std::exchange(adoption_, Adoption::asked) == Adoption::open) {
    launcher_.survivors([weak = weak_from_this()](Result<std::vector<Survivor>> survivors) {
      if (const auto self = weak.lock()) {
        self->adopt(std::move(survivors));
      }
    });
  }
}

void Supervisor::Impl::disconnected() {
  connected_ = false;
  requests_meanwhile_.clear();
  for (auto& [name, entry] : entries_) {
    refresh(entry);
  }
}

void Supervisor::Impl::adopt(Result<std::vector<Survivor>> survivors) {
  adoption_ = Adoption::done;
  if (!survivors) {
    log::error({}, "cannot find the MCP servers that run already: {}", survivors.error().message);
    survivors = std::vector<Survivor>{};
  }
  for (auto& survivor : *survivors) {
    auto* entry = entry_of(survivor.server);
    if (entry == nullptr || fingerprint(entry->server.config) != survivor.fingerprint) {
      leaving_.insert(survivor.instance);
      launcher_.stop(survivor.instance, entry != nullptr ? entry->server.config.stop_timeout : unknown_grace);
      continue;
    }
    auto& instance = entry->instances[survivor.instance];
    instance.phase = Phase::running;
    instance.pid = survivor.main_pid;
    instance.unit = std::move(survivor.unit);
    instance.network = network_namespace_of(instance.pid);
    instance.started = loop_.now();
  }
  if (connected_) {
    match(std::exchange(held_meanwhile_, {}));
  }
  ensure_all();
  for (const auto& [name, session] : std::exchange(requests_meanwhile_, {})) {
    request(name, session);
  }
}

void Supervisor::Impl::match(const std::vector<HeldInstance>& held) {
  std::set<std::pair<std::string, InstanceId>> unmatched;
  for (const auto& one : held) {
    unmatched.emplace(one.server, one.instance);
    if (auto* entry = entry_of(one.server); entry != nullptr && entry->instances.contains(one.instance)) {
      entry->instances[one.instance].session = one.session;
    }
  }
  for (auto& [name, entry] : entries_) {
    const bool one = entry.server.config.mode == Mode::shared;
    bool kept[] = {false, false};
    for (auto& [id, instance] : entry.instances) {
      if (instance.phase != Phase::running) {
        continue;
      }
      instance.announced = unmatched.contains({name, id});
      bool& has = kept[is_second(entry, instance) ? 1 : 0];
      if (!instance.announced || (one && has)) {
        end(entry, id, "the gateway does not hold its stdio");
        continue;
      }
      has = true;
      unmatched.erase({name, id});
      log::info({{names::field_server, name}}, "MCP server {} still runs, process {}", name, instance.pid);
    }
  }
  for (const auto& [name, id] : unmatched) {
    tell_gone(name, id, "does not run any more");
  }
}

}  // namespace hal::server
