#include "worker/live_pool.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/live_pool_job.hpp"
#include "worker/naming.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

namespace {

/** Until it has been measured. */
constexpr Seconds first_refill_time{0.5};
/** Weight of the last measurement. */
constexpr double refill_weight = 0.2;
constexpr auto retire_retry = std::chrono::seconds(5);

std::string identity_of(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    return "";
  }
  return fmt::format("{} {} {}.{:09}", status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

}  // namespace

std::string generation_of(const Settings& settings, const std::string& image_id) {
  const auto& profile = settings.profiles.at(settings.default_profile);
  return short_digest(fmt::format("{}\n{}\n{}\n{} {} {}\n{}\n{}", settings.default_profile, profile.image, image_id,
                                  profile.limits.memory_bytes, profile.limits.cpus, profile.limits.pids,
                                  identity_of(settings.init_program), identity_of(settings.relay_program)));
}

LivePool::LivePool(Parts parts)
    : parts_(std::move(parts)),
      state_(load_pool_state(state_file())),
      refill_time_(first_refill_time),
      look_(parts_.loop, "pool", [this] { decide(); }),
      again_(parts_.loop, "pool (again)", [this] { decide(); }),
      retry_(parts_.loop, "pool (retry)", [this] { look_at_image(); }),
      retry_retire_(parts_.loop, "pool (retry to remove)", [this] { decide(); }) {
  parts_.stock.set_stock_listener(this);
  changed();
}

LivePool::~LivePool() {
  for (auto* job : jobs_) {
    job->pool_gone();
  }
  parts_.stock.set_stock_listener(nullptr);
}

std::string LivePool::state_file() const {
  return parts_.settings.state_dir + "/pool.json";
}

// --- news ----------------------------------------------------------------------------------------------------------

void LivePool::start() {
  started_ = true;
  look_at_image();
}

void LivePool::look() {
  look_.schedule();
}

void LivePool::look_at_image() {
  if (!started_ || !parts_.missing().empty()) {
    return look();
  }
  const auto& image = parts_.settings.profiles.at(parts_.settings.default_profile).image;
  parts_.runtime.inspect_image(image, alive_.wrap([this](const Result<ImageInfo>& found) {
    if (!found) {
      return image_lost(found.error());
    }
    image_found(*found);
    look();
  }));
}

void LivePool::image_lost(const Error& error) {
  image_lost_ = true;
  failed(error);
}

void LivePool::image_found(const ImageInfo& image) {
  if (std::exchange(image_lost_, false)) {  // nothing else is known to be wrong
    log::info({}, "the image of the pool's workers is there again");
    circuit_.succeed();
    failure_.clear();
    retry_.disarm();
  }
  set_generation(image.id);
}

void LivePool::set_generation(const std::string& image_id) {
  auto fresh = generation_of(parts_.settings, image_id);
  if (fresh == generation_) {
    return;
  }
  if (!generation_.empty()) {
    log::info({}, "image or configuration of the pool's workers have changed; they are replaced one by one");
  }
  generation_ = std::move(fresh);
  parts_.stock.prefer_generation(generation_);
}

void LivePool::on_demand(bool hit) {
  ++(hit ? hits_ : misses_);
  demand_.note(parts_.loop.now());
  look();
}

void LivePool::on_pressure(Pressure pressure) {
  if (pressure != pressure_) {
    log::notice({}, "memory pressure of the host: {}", name(pressure));
  }
  pressure_ = pressure;
  give_back_ = pressure == Pressure::full;
  look();
}

void LivePool::without_pressure() {
  pressure_known_ = false;
  changed();
}

// --- decisions -----------------------------------------------------------------------------------------------------

PoolSettings LivePool::bounds() const {
  PoolSettings bounds = parts_.settings.pool;
  bounds.min = state_.change.min.value_or(bounds.min);
  bounds.max = state_.change.max.value_or(bounds.max);
  bounds.idle_timeout = state_.change.idle_timeout.value_or(bounds.idle_timeout);
  bounds.min = std::min(bounds.min, bounds.max);  // one may be of the configuration and older than the other
  return bounds;
}

std::uint32_t LivePool::asked_for() const {
  std::uint32_t count = 0;
  for (const auto* job : jobs_) {
    count = std::max(count, job->wanted());
  }
  return count;
}

PoolSituation LivePool::situation() const {
  const auto limits = bounds();
  const auto now = parts_.loop.now();
  PoolSituation situation;
  situation.min = limits.min;
  situation.max = limits.max;
  situation.idle_timeout = limits.idle_timeout;
  situation.demand = demand_.rate(now);
  situation.refill_time = refill_time_;
  situation.pressure = pressure_;
  situation.give_back = give_back_;
  situation.drained = state_.drained;
  situation.makeable = parts_.missing().empty();
  situation.failing = circuit_.failing();
  situation.waiting = retry_.armed();
  situation.generation = generation_;
  situation.asked_for = asked_for();
  if (claiming_since_) {
    situation.claiming_for = std::chrono::duration_cast<std::chrono::microseconds>(now - *claiming_since_);
  }
  situation.stock = parts_.stock.stock();
  situation.starting = asking_ + parts_.stock.starting();
  if (last_claim_) {
    situation.since_claim = std::chrono::duration_cast<std::chrono::microseconds>(now - *last_claim_);
  }
  if (surplus_since_) {
    situation.surplus_for = std::chrono::duration_cast<std::chrono::microseconds>(now - *surplus_since_);
  }
  return situation;
}

void LivePool::decide() {
  if (!started_) {
    return changed();
  }
  const bool claiming = parts_.stock.claiming() > 0;
  if (claiming || claiming_since_) {
    last_claim_ = parts_.loop.now();
  }
  if (!claiming) {
    claiming_since_.reset();
  } else if (!claiming_since_) {
    claiming_since_ = last_claim_;
  }
  const auto decision = pool_policy(situation());
  give_back_ = false;
  if (!decision.surplus) {
    surplus_since_.reset();
  } else if (!surplus_since_) {
    surplus_since_ = parts_.loop.now();
  }
  if (decision.look_again) {
    again_.arm(*decision.look_again + std::chrono::milliseconds(1));
  } else {
    again_.disarm();
  }
  // Without the engine nothing can be removed; it is looked at again when that is back.
  if (parts_.runtime.up() && !retry_retire_.armed()) {
    for (const auto& [id, reason] : decision.retire) {
      retire(id, reason);
    }
  }
  for (std::size_t i = 0; i < decision.create; ++i) {
    create();
  }
  changed();
}

void LivePool::create() {
  ++asking_;
  const auto& image = parts_.settings.profiles.at(parts_.settings.default_profile).image;
  parts_.runtime.inspect_image(image, alive_.wrap([this](const Result<ImageInfo>& found) { make(found); }));
}

void LivePool::make(const Result<ImageInfo>& image) {
  --asking_;
  if (!image) {
    return image_lost(image.error());
  }
  image_found(*image);
  const auto made = [this, begun = parts_.loop.now()](const Result<WorkerId>& id) { this->made(id, begun); };
  parts_.stock.make_warm(generation_, alive_.wrap(made));
}

void LivePool::made(const Result<WorkerId>& result, std::chrono::steady_clock::time_point begun) {
  if (!result) {
    return failed(result.error());
  }
  refill_time_ += refill_weight * (Seconds(parts_.loop.now() - begun) - refill_time_);
  if (circuit_.open()) {
    log::info({}, "the pool can make workers again");
  }
  circuit_.succeed();
  failure_.clear();
  look();
}

void LivePool::failed(const Error& error) {
  if (!parts_.missing().empty()) {
    return look();  // known to be out of order; who knows looks again when it is not
  }
  const bool was_open = circuit_.open();
  failure_ = error.message;
  retry_.arm(circuit_.fail());
  if (circuit_.open() && !was_open) {
    log::error({{names::field_message_id, names::message_id_pool_degraded}},
               "workers for the pool cannot be made: {}; it is tried again now and then", error.message);
  } else {
    log::warning({}, "a worker for the pool could not be made: {}", error.message);
  }
  look();
}

void LivePool::retire(const WorkerId& id, const std::string& reason) {
  ++retiring_;
  const auto retired = [this, id](const Result<void>& result) {
    --retiring_;
    if (!result && result.error().code != Errc::not_found) {
      log::warning({{names::field_worker, id.value}}, "warm worker {} cannot be removed: {}", id.value,
                   result.error().message);
      retry_retire_.arm(retire_retry);
    }
    look();
  };
  parts_.stock.retire(id, reason, alive_.wrap(retired));
}

// --- what it says of itself ----------------------------------------------------------------------------------------

std::string LivePool::shortage() const {
  if (state_.drained) {
    return "the pool is drained";
  }
  if (auto missing = parts_.missing(); !missing.empty()) {
    return missing;
  }
  if (circuit_.failing()) {
    return "making one has failed: " + failure_;
  }
  if (pressure_ != Pressure::none) {
    return "the host is short of memory";
  }
  const auto starting = asking_ + parts_.stock.starting();
  return starting > 0        ? fmt::format("{} {} being made", starting, starting == 1 ? "is" : "are")
         : bounds().max == 0 ? "the pool's max is 0"
                             : "all are taken";
}

Pool::Status LivePool::status() const {
  const auto now = situation();
  Status status;
  status.min = now.min;
  status.max = now.max;
  status.idle_timeout = now.idle_timeout;
  status.target = pool_policy(now).target;
  status.warm = static_cast<std::uint32_t>(now.stock.size());
  status.starting = static_cast<std::uint32_t>(now.starting);
  status.claimed = static_cast<std::uint32_t>(parts_.stock.claimed());
  status.hits = hits_;
  status.misses = misses_;
  status.claim_times = claim_times_;
  status.pressure = pressure_known_ ? name(pressure_) : "unknown";
  status.drained = state_.drained;
  status.degraded = circuit_.open();
  if (status.warm < status.target || status.drained || status.degraded) {
    status.reason = shortage();
  }
  return status;
}

void LivePool::changed() {
  settle_jobs();
  if (listener_ != nullptr) {
    listener_->on_pool_changed();
  }
}

}  // namespace hal::worker
