#include "server/supervisor_impl.hpp"

#include "base/log.hpp"
#include "base/names.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace hal::server {

namespace {

/** A request for a shared server that returns sooner than this is not refused. */
constexpr std::chrono::milliseconds short_wait{5000};
/** When to ask again for a server that waits for the parent's network namespace. */
constexpr std::chrono::milliseconds network_wait{2000};
/** Requests that may wait for the launcher's word of what runs already, which takes milliseconds. */
constexpr std::size_t max_early_requests = 256;

}  // namespace

Supervisor::Impl::Impl(event::Loop& loop, Launcher& launcher, Supervisor::Listener& listener, Options options)
    : loop_(loop),
      launcher_(launcher),
      options_(options),
      announcer_(loop, listener, [this](const std::string& name) { return find(name); }) {
  launcher_.set_listener(this);
}

Supervisor::Impl::~Impl() {
  launcher_.set_listener(nullptr);
}

const Server* Supervisor::Impl::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found != entries_.end() ? &found->second.server : nullptr;
}

std::vector<const Server*> Supervisor::Impl::all() const {
  std::vector<const Server*> result;
  result.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) {
    result.push_back(&entry.server);
  }
  return result;
}

Supervisor::Impl::Entry* Supervisor::Impl::entry_of(std::string_view name) {
  const auto found = entries_.find(name);
  return found != entries_.end() ? &found->second : nullptr;
}

void Supervisor::Impl::apply(std::vector<ServerConfig> configs) {
  std::set<std::string, std::less<>> names;
  for (auto& config : configs) {
    names.insert(config.name);
    if (auto* entry = entry_of(config.name); entry == nullptr) {
      add(std::move(config));
    } else if (entry->server.config != config) {
      change(*entry, std::move(config));
    }
  }
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    entry = names.contains(entry->first) ? std::next(entry) : remove(entry);
  }
}

void Supervisor::Impl::add(ServerConfig config) {
  const auto name = config.name;
  auto& entry = entries_.try_emplace(name, options_.backoff).first->second;
  entry.server.config = std::move(config);
  entry.retry = std::make_unique<event::Timer>(loop_, "restart " + name, [this, name] { ensure(*entry_of(name)); });
  announcer_.changed(name);
  ensure(entry);
}

void Supervisor::Impl::change(Entry& entry, ServerConfig config) {
  const bool other_process = fingerprint(entry.server.config) != fingerprint(config);
  entry.server.config = std::move(config);
  announcer_.changed(entry.server.config.name);
  if (other_process) {
    forget_failures(entry);
    end_all(entry, "has another configuration now");
  }
  ensure(entry);
}

Supervisor::Impl::Entries::iterator Supervisor::Impl::remove(Entries::iterator found) {
  auto& [name, entry] = *found;
  end_all(entry, "was removed from the configuration");
  for (const auto& [id, instance] : entry.instances) {
    leaving_.insert(id);
  }
  const Result<void> removed = Error{Errc::not_found, name + " was removed from the configuration"};
  answer_all(entry.start_waiters, removed);
  answer_all(entry.stop_waiters, removed);
  announcer_.removed(name);
  return entries_.erase(found);
}

void Supervisor::Impl::set_network_namespace(UniqueFd network_namespace) {
  network_ = std::move(network_namespace);
  network_id_ = network_ ? namespace_id(network_.get()) : std::nullopt;
  for (auto& [name, entry] : entries_) {
    if (entry.server.config.network != Network::parent) {
      continue;
    }
    std::vector<InstanceId> outdated;
    for (const auto& [id, instance] : entry.instances) {
      if (network_id_ && instance.network && instance.network != network_id_) {
        outdated.push_back(id);
      }
    }
    for (const auto id : outdated) {
      end(entry, id, "was in a former network of the parent");
    }
  }
  ensure_all();
}

void Supervisor::Impl::start(std::string_view name, Done<void> done) {
  auto* entry = entry_of(name);
  if (entry == nullptr) {
    answer(std::move(done), Error{Errc::not_found, fmt::format("there is no MCP server {}", name)});
    return;
  }
  entry->wanted = true;
  entry->requested = !has_live_instance(*entry);
  forget_failures(*entry);
  ensure(*entry);
  const auto why_not = hindrance(*entry);
  if (has_live_instance(*entry) && entry->server.state == State::running) {
    answer(std::move(done), {});
  } else if (!why_not.empty()) {
    answer(std::move(done), Error{Errc::unavailable, fmt::format("{} {}", name, why_not)});
  } else if (entry->server.config.mode == Mode::session) {
    answer(std::move(done), {});
  } else {
    entry->start_waiters.push_back(std::move(done));
  }
}

void Supervisor::Impl::stop(std::string_view name, Done<void> done) {
  auto* entry = entry_of(name);
  if (entry == nullptr) {
    answer(std::move(done), Error{Errc::not_found, fmt::format("there is no MCP server {}", name)});
    return;
  }
  entry->wanted = false;
  entry->requested = false;
  forget_failures(*entry);
  end_all(*entry, "was stopped by the operator");
  answer_all(entry->start_waiters, Error{Errc::cancelled, fmt::format("{} was stopped", name)});
  if (entry->instances.empty()) {
    answer(std::move(done), {});
  } else {
    entry->stop_waiters.push_back(std::move(done));
  }
  refresh(*entry);
}

void Supervisor::Impl::restart(std::string_view name, Done<void> done) {
  if (auto* entry = entry_of(name); entry != nullptr) {
    end_all(*entry, "is being restarted by the operator");
  }
  start(name, std::move(done));
}

void Supervisor::Impl::request(const std::string& name, const std::optional<std::string>& session) {
  if (connected_ && adoption_ == Adoption::asked && requests_meanwhile_.size() < max_early_requests) {
    requests_meanwhile_.emplace_back(name, session);
    return;
  }
  auto* entry = entry_of(name);
  if (entry == nullptr) {
    tell_unavailable(name, session, fmt::format("there is no MCP server {}", name), std::nullopt);
    return;
  }
  const auto& server = entry->server;
  if (!entry->wanted || entry->failed) {
    tell_unavailable(name, session, fmt::format("{}: {}", server::name(server.state), server.reason), std::nullopt);
    return;
  }
  if (const auto why_not = hindrance(*entry); !why_not.empty() && !has_live_instance(*entry)) {
    tell_unavailable(name, session, fmt::format("{} {}", name, why_not), network_wait);
    return;
  }
  if (server.state == State::backoff) {
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(entry->retry_at - loop_.now());
    if (session || wait > short_wait) {
      tell_unavailable(name, session, server.reason, wait);
      return;
    }
  }
  if (server.config.mode == Mode::shared && session) {
    request_second(*entry, *session);
  } else if (server.config.mode == Mode::shared) {
    entry->requested = true;
    ensure(*entry);
  } else if (entry->instances.size() >= server.config.max_sessions || instance_count() >= options_.max_instances) {
    tell_unavailable(name, session, fmt::format("{} has {} processes already", name, entry->instances.size()),
                     network_wait);
  } else {
    launch(*entry, session);
    refresh(*entry);
  }
}

void Supervisor::Impl::release(const std::string& name, InstanceId id) {
  auto* entry = entry_of(name);
  if (entry == nullptr || !entry->instances.contains(id)) {
    return;
  }
  entry->instances[id].announced = false;  // the gateway knows
  end(*entry, id, "was closed by the gateway");
  refresh(*entry);
}

void Supervisor::Impl::stop_all(Done<void> done) {
  stopping_ = true;
  stop_all_waiters_.push_back(std::move(done));
  for (auto& [name, entry] : entries_) {
    forget_failures(entry);
    end_all(entry, "ends with HAL-9000");
    answer_all(entry.start_waiters, Error{Errc::cancelled, "HAL-9000 is stopping"});
    refresh(entry);
  }
  finish_stop_all();
}

void Supervisor::Impl::finish_stop_all() {
  if (stopping_ && instance_count() == 0) {
    answer_all(stop_all_waiters_, {});
  }
}

void Supervisor::Impl::ensure(Entry& entry) {
  if (entry.server.config.mode == Mode::shared && entry.wanted && !entry.failed && !entry.retry->armed() &&
      first_of(entry) == nullptr && !is_idle(entry) && hindrance(entry).empty()) {
    launch(entry, std::nullopt);
  }
  refresh(entry);
}

bool Supervisor::Impl::is_idle(const Entry& entry) {
  return entry.server.config.idle_timeout.count() != 0 && !entry.requested && first_of(entry) == nullptr;
}

void Supervisor::Impl::ensure_all() {
  for (auto& [name, entry] : entries_) {
    ensure(entry);
  }
}

void Supervisor::Impl::forget_failures(Entry& entry) {
  entry.backoff.reset();
  entry.second_backoff.reset();
  entry.second_retry_at = {};
  entry.failed = false;
  entry.failure.clear();
  entry.retry->disarm();
}

std::string Supervisor::Impl::hindrance(const Entry& entry) const {
  if (stopping_) {
    return "cannot start: HAL-9000 is stopping";
  }
  if (!connected_ || adoption_ != Adoption::done) {
    return "waits for the gateway";
  }
  if (entry.server.config.network == Network::parent && !network_) {
    return "waits for the parent's network";
  }
  return {};
}

bool Supervisor::Impl::has_live_instance(const Entry& entry) {
  return std::any_of(entry.instances.begin(), entry.instances.end(), [&entry](const auto& pair) {
    return pair.second.phase == Phase::running && !is_second(entry, pair.second);
  });
}

bool Supervisor::Impl::is_second(const Entry& entry, const Instance& instance) {
  return entry.server.config.mode == Mode::shared && instance.session.has_value();
}

const Supervisor::Impl::Instance* Supervisor::Impl::first_of(const Entry& entry) {
  const auto found = std::find_if(entry.instances.begin(), entry.instances.end(),
                                  [&entry](const auto& pair) { return !is_second(entry, pair.second); });
  return found != entry.instances.end() ? &found->second : nullptr;
}

std::pair<State, std::string> Supervisor::Impl::state_of(const Entry& entry) const {
  if (!entry.wanted || stopping_) {
    return {State::stopped, entry.wanted ? "HAL-9000 is stopping" : "stopped by the operator"};
  }
  if (entry.failed) {
    return {State::failed, entry.failure};
  }
  if (entry.retry->armed()) {
    return {State::backoff, entry.failure};
  }
  if (has_live_instance(entry)) {
    return {State::running, {}};
  }
  if (is_idle(entry)) {
    return {State::stopped, "idle: it starts when somebody uses it"};
  }
  if (auto why_not = hindrance(entry); !why_not.empty()) {
    return {State::starting, std::move(why_not)};
  }
  return {entry.server.config.mode == Mode::session ? State::running : State::starting, {}};
}

void Supervisor::Impl::refresh(Entry& entry) {
  auto& server = entry.server;
  auto [state, reason] = state_of(entry);
  std::string unit;
  pid_t pid = 0;
  if (const auto* first = first_of(entry); server.config.mode == Mode::shared && first != nullptr) {
    unit = first->unit;
    pid = first->pid;
  }
  auto shown = std::tie(server.state, server.reason, server.unit, server.main_pid, server.instances);
  if (auto now = std::make_tuple(state, reason, unit, pid, entry.instances.size()); shown != now) {
    shown = std::move(now);
    announcer_.changed(server.config.name);
  }
}

std::size_t Supervisor::Impl::instance_count() const {
  std::size_t count = leaving_.size();
  for (const auto& [name, entry] : entries_) {
    count += entry.instances.size();
  }
  return count;
}

void Supervisor::Impl::answer(Done<void> done, Result<void> result) {
  announcer_.post([done = std::move(done), result = std::move(result)](Supervisor::Listener&) { done(result); });
}

void Supervisor::Impl::answer_all(std::vector<Done<void>>& waiters, const Result<void>& result) {
  for (auto& done : std::exchange(waiters, {})) {
    answer(std::move(done), result);
  }
}

}  // namespace hal::server
