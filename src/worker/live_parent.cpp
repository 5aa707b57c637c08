#include "worker/live_parent.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/container_spec.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace hal::worker {

namespace {

constexpr auto first_retry = std::chrono::milliseconds(500);
constexpr auto last_retry = std::chrono::milliseconds(30'000);
/** While ChromaDB starts, and while it is well and in use. Its end is an event; only a hanging one needs to be asked.
 */
constexpr auto starting_beat = std::chrono::milliseconds(250);
constexpr auto healthy_beat = std::chrono::seconds(60);
/** ChromaDB needs a few seconds from a cold disk. */
constexpr int starting_beats_allowed = 240;
constexpr int healthy_beats_allowed = 3;

}  // namespace

std::string_view name(Parent::State state) {
  switch (state) {
    case Parent::State::absent:
      return "absent";
    case Parent::State::starting:
      return "starting";
    case Parent::State::running:
      return "running";
    case Parent::State::degraded:
      return "degraded";
  }
  return "unknown";
}

LiveParent::LiveParent(event::Loop& loop, Runtime& runtime, const Settings& settings, Heartbeat heartbeat,
                       std::function<bool()> in_use)
    : runtime_(runtime),
      settings_(settings),
      heartbeat_(std::move(heartbeat)),
      in_use_(std::move(in_use)),
      retry_delay_(first_retry),
      retry_(loop, "parent retry", [this] { find_holder([](const Result<void>&) {}); }),
      beat_(loop, "chroma heartbeat", [this] { beat(); }) {}

std::string_view LiveParent::chroma_health() const {
  switch (health_) {
    case Health::absent:
      return "absent";
    case Health::starting:
      return "starting";
    case Health::healthy:
      return "healthy";
    case Health::unhealthy:
      return "unhealthy";
  }
  return "unknown";
}

void LiveParent::reconcile(Done<void> done) {
  retry_delay_ = first_retry;
  find_holder(std::move(done));
}

void LiveParent::on_engine_down() {
  retry_.disarm();
  beat_.disarm();
  busy_ = false;
  set(State::degraded, "the container engine is not reachable");
}

void LiveParent::retry_now() {
  if (retry_.armed()) {
    reconcile([](const Result<void>&) {});
  }
}

void LiveParent::on_container_event(const ContainerEvent& event) {
  const bool gone = event.kind == ContainerEvent::Kind::died || event.kind == ContainerEvent::Kind::removed;
  if (!gone || busy_) {
    return;
  }
  if (event.id == holder_) {
    log::error({{names::field_message_id, names::message_id_parent_lost}},
               "the namespace holder has ended: workers in its network lose ChromaDB until they are restarted");
    holder_ = {};
    pid_ = 0;
    set(State::degraded, "the namespace holder has ended");
    if (listener_ != nullptr) {
      listener_->on_namespace(false);
    }
    retry("namespace holder", {Errc::disconnected, "has ended"});
  } else if (event.id == chroma_) {
    log::warning({}, "ChromaDB has ended with code {}; starting it again", event.exit_code);
    set_health(Health::unhealthy, "ChromaDB has ended");
    beat_.disarm();
    retry("ChromaDB", {Errc::disconnected, "has ended"});
  }
}

// --- the namespace holder ------------------------------------------------------------------------------------------

void LiveParent::find_holder(Done<void> done) {
  retry_.disarm();
  if (!runtime_.up()) {
    return done(Error{Errc::unavailable, "the container engine is not reachable"});
  }
  busy_ = true;
  const auto listed = [this, done = std::move(done)](const Result<std::vector<ContainerInfo>>& containers) {
    if (!containers) {
      retry("namespace holder", containers.error());
      return done(containers.error());
    }
    const auto running = std::find_if(containers->begin(), containers->end(), [](const ContainerInfo& info) {
      return info.status == ContainerStatus::running;
    });
    if (running == containers->end()) {
      remove_surplus(*containers, {});
      return make_holder(done);
    }
    remove_surplus(*containers, running->id);
    start_holder(running->id, done);
  };
  runtime_.list({{names::label_role, names::role_parent}}, alive_.wrap(listed));
}

void LiveParent::remove_surplus(const std::vector<ContainerInfo>& containers, const ContainerId& keep) {
  for (const auto& info : containers) {
    if (info.id != keep) {
      runtime_.remove(info.id, true, [](const Result<void>&) {});
    }
  }
}

void LiveParent::make_holder(Done<void> done) {
  if (state_ != State::degraded) {
    set(State::starting, "making the namespace holder");
  }
  const auto created = [this, done = std::move(done)](const Result<ContainerId>& id) {
    if (!id) {
      retry("namespace holder", id.error());
      return done(id.error());
    }
    start_holder(*id, done);
  };
  runtime_.create(holder_spec(settings_), alive_.wrap(created));
}

void LiveParent::start_holder(const ContainerId& id, Done<void> done) {
  const auto inspected = [this, done](const Result<ContainerInfo>& info) {
    if (!info || info->status != ContainerStatus::running) {
      const Error error =
          info ? Error{Errc::unavailable, "ended at once with code " + std::to_string(info->exit_code)} : info.error();
      retry("namespace holder", error);
      return done(error);
    }
    take_holder(*info);
    done({});
    find_chroma();
  };
  const auto started = [this, id, inspected = alive_.wrap(inspected), done](const Result<void>& result) {
    if (!result) {
      retry("namespace holder", result.error());
      return done(result.error());
    }
    runtime_.inspect(id, inspected);
  };
  runtime_.start(id, alive_.wrap(started));
}

void LiveParent::take_holder(const ContainerInfo& info) {
  const bool fresh = holder_ != info.id || pid_ != info.pid;
  holder_ = info.id;
  pid_ = info.pid;
  if (fresh) {
    log::info({}, "namespace holder {} runs as process {}", holder_.value.substr(0, 12), pid_);
    if (listener_ != nullptr) {
      listener_->on_namespace(true);
    }
  }
}

// --- ChromaDB ------------------------------------------------------------------------------------------------------

void LiveParent::find_chroma() {
  const auto listed = [this](const Result<std::vector<ContainerInfo>>& containers) {
    if (!containers) {
      return retry("ChromaDB", containers.error());
    }
    const auto ours = std::find_if(containers->begin(), containers->end(), [this](const ContainerInfo& info) {
      const auto label = info.labels.find(label_parent);
      return label != info.labels.end() && label->second == holder_.value && info.status == ContainerStatus::running;
    });
    if (ours != containers->end()) {
      remove_surplus(*containers, ours->id);
      return start_chroma(ours->id);
    }
    remove_surplus(*containers, {});
    make_chroma();
  };
  runtime_.list({{names::label_role, names::role_chroma}}, alive_.wrap(listed));
}

void LiveParent::make_chroma() {
  const std::string data = settings_.state_dir + "/chroma";
  struct stat status {};
  if (::stat(data.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return retry("ChromaDB", errno_error(data));
  }
  const auto created = [this](const Result<ContainerId>& id) {
    if (!id) {
      return retry("ChromaDB", id.error());
    }
    start_chroma(*id);
  };
  runtime_.create(chroma_spec(settings_, holder_, data, status.st_uid, status.st_gid), alive_.wrap(created));
}

void LiveParent::start_chroma(const ContainerId& id) {
  const auto started = [this, id](const Result<void>& result) {
    if (!result) {
      return retry("ChromaDB", result.error());
    }
    busy_ = false;
    chroma_ = id;
    missed_beats_ = 0;
    set_health(Health::starting, "ChromaDB is starting");
    beat();
  };
  runtime_.start(id, alive_.wrap(started));
}

void LiveParent::beat() {
  if (pid_ == 0 || chroma_.value.empty()) {
    return;
  }
  asking_ = true;
  heartbeat_(pid_, alive_.wrap([this](const Result<void>& answer) { on_beat(answer); }));
}

void LiveParent::on_use() {
  if (state_ == State::running && !asking_ && !beat_.armed() && in_use_()) {
    beat();
  }
}

void LiveParent::on_beat(const Result<void>& answer) {
  asking_ = false;
  if (chroma_.value.empty() || busy_) {
    return;
  }
  if (answer) {
    missed_beats_ = 0;
    retry_delay_ = first_retry;
    if (health_ != Health::healthy) {
      log::info({}, "ChromaDB is healthy");
    }
    set_health(Health::healthy, "");
    if (in_use_()) {
      beat_.arm(healthy_beat);
    }
    return;
  }
  ++missed_beats_;
  const int allowed = health_ == Health::starting ? starting_beats_allowed : healthy_beats_allowed;
  if (missed_beats_ >= allowed) {
    replace_chroma("no heartbeat: " + answer.error().message);
    return;
  }
  beat_.arm(starting_beat);
}

void LiveParent::replace_chroma(const std::string& why) {
  log::error({}, "ChromaDB is replaced: {}", why);
  beat_.disarm();
  set_health(Health::unhealthy, why);
  const auto removed = [this](const Result<void>& result) {
    retry("ChromaDB", result ? Error{Errc::unavailable, reason_} : result.error());
  };
  runtime_.remove(std::exchange(chroma_, {}), true, alive_.wrap(removed));
}

void LiveParent::restart_chroma(Done<void> done) {
  if (chroma_.value.empty()) {
    // Nothing runs: what would start it is under way or waits; do it now.
    find_holder(std::move(done));
    return;
  }
  beat_.disarm();
  busy_ = true;
  set_health(Health::starting, "restarting by request");
  const auto removed = [this, done = std::move(done)](const Result<void>& result) {
    if (!result) {
      retry("ChromaDB", result.error());
      return done(result.error());
    }
    find_holder(done);
  };
  runtime_.remove(std::exchange(chroma_, {}), true, alive_.wrap(removed));
}

// --- state ---------------------------------------------------------------------------------------------------------

void LiveParent::set_health(Health health, std::string reason) {
  health_ = health;
  switch (health) {
    case Health::healthy:
      set(State::running, "");
      break;
    case Health::starting:
      set(State::starting, std::move(reason));
      break;
    case Health::absent:
    case Health::unhealthy:
      set(State::degraded, std::move(reason));
      break;
  }
}

void LiveParent::set(State state, std::string reason) {
  if (state == state_ && reason == reason_) {
    return;
  }
  state_ = state;
  reason_ = std::move(reason);
  if (listener_ != nullptr) {
    listener_->on_parent_changed();
  }
}

void LiveParent::retry(const std::string& what, const Error& error) {
  busy_ = false;
  const std::string reason = what + ": " + error.message;
  if (reason != reason_) {
    log::warning({}, "parent: {}; trying again", reason);
  }
  set(State::degraded, reason);
  if (runtime_.up()) {
    retry_.arm(retry_delay_);
    retry_delay_ = std::min(retry_delay_ * 2, last_retry);
  }
}

}  // namespace hal::worker
