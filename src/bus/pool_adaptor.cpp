#include "bus/pool_adaptor.hpp"

#include "base/names.hpp"
#include "bus/job_adaptor.hpp"
#include "bus/options.hpp"
#include "bus/signals.hpp"

#include <memory>
#include <utility>

namespace hal::bus {

PoolAdaptor::PoolAdaptor(sdbus::IConnection& connection, worker::Pool& pool, Spawner& spawner, Calls& calls, Jobs& jobs)
    : AdaptorInterfaces(connection, sdbus::ObjectPath{names::pool_path}),
      pool_(pool),
      spawner_(spawner),
      calls_(calls),
      jobs_(jobs) {
  registerAdaptor();
  (void)published_.update(snapshot());
}

PoolAdaptor::~PoolAdaptor() {
  unregisterAdaptor();
}

void PoolAdaptor::publish() {
  emit_changed(getObject(), INTERFACE_NAME, published_.update(snapshot()));
}

/** Every property with EmitsChangedSignal "true". */
Published::Snapshot PoolAdaptor::snapshot() const {
  const auto status = pool_.status();
  return {
      {"Min", std::to_string(status.min)},
      {"Max", std::to_string(status.max)},
      {"IdleTimeoutUSec", std::to_string(status.idle_timeout.count())},
      {"Target", std::to_string(status.target)},
      {"Warm", std::to_string(status.warm)},
      {"Starting", std::to_string(status.starting)},
      {"Claimed", std::to_string(status.claimed)},
      {"Pressure", status.pressure},
      {"Drained", status.drained ? "true" : "false"},
      {"Reason", status.reason},
  };
}

/** Runs `then(uid of the caller)` if the caller may; `then` outlives this object. */
template <class... Values, class Then>
void PoolAdaptor::run(const Reply<Values...>& reply, Then then) {
  guard(reply, [&] { calls_.authorised(getObject(), INTERFACE_NAME, std::nullopt, reply, std::move(then)); });
}

void PoolAdaptor::start_job(const Reply<sdbus::ObjectPath>& reply, std::string kind, Jobs::Begin begin) {
  run(reply, [&jobs = jobs_, kind = std::move(kind), begin = std::move(begin), reply](uid_t caller) {
    const auto job = jobs.start(kind, caller, begin);
    if (job) {
      reply.succeed(sdbus::ObjectPath{job_path(*job)});
    } else {
      reply.fail(job.error());
    }
  });
}

void PoolAdaptor::Claim(sdbus::Result<sdbus::ObjectPath>&& result, std::string workspace, Options options) {
  const auto reply = calls_.answer(std::move(result));
  guard(reply, [&] {
    auto path = read_path("workspace", std::move(workspace));
    auto values = to_values(options);
    auto request = values ? read_claim_options(std::move(*values)) : values.error();
    if (!path || !request) {
      reply.fail(path ? request.error() : path.error());
      return;
    }
    request->workspace = std::move(*path);
    run(reply, [&spawner = spawner_, reply, shared = std::make_shared<worker::SpawnRequest>(std::move(*request))](
                   uid_t caller) { spawner.spawn(reply, std::move(*shared), caller); });
  });
}

void PoolAdaptor::Scale(sdbus::Result<>&& result, std::uint32_t min, std::uint32_t max) {
  const auto reply = calls_.answer(std::move(result));
  run(reply, [&pool = pool_, min, max, reply](uid_t) {
    answer_with(reply)(pool.configure({.min = min, .max = max, .idle_timeout = {}}));
  });
}

void PoolAdaptor::Configure(sdbus::Result<>&& result, Options settings) {
  const auto reply = calls_.answer(std::move(result));
  guard(reply, [&] {
    auto values = to_values(settings);
    const auto change = values ? read_pool_settings(std::move(*values)) : values.error();
    if (!change) {
      reply.fail(change.error());
      return;
    }
    run(reply, [&pool = pool_, change = *change, reply](uid_t) { answer_with(reply)(pool.configure(change)); });
  });
}

void PoolAdaptor::Warm(sdbus::Result<sdbus::ObjectPath>&& result, std::uint32_t n) {
  start_job(calls_.answer(std::move(result)), "pool-warm",
            [&pool = pool_, n](DaemonControl::Progress progress, Done<void> done) {
              return pool.warm(n, std::move(progress), std::move(done));
            });
}

void PoolAdaptor::Drain(sdbus::Result<sdbus::ObjectPath>&& result) {
  start_job(calls_.answer(std::move(result)), "pool-drain",
            [&pool = pool_](DaemonControl::Progress progress, Done<void> done) {
              return pool.drain(std::move(progress), std::move(done));
            });
}

void PoolAdaptor::Cleanup(sdbus::Result<std::uint32_t>&& result) {
  const auto reply = calls_.answer(std::move(result));
  run(reply, [&pool = pool_, reply](uid_t) {
    pool.cleanup([reply](const hal::Result<std::uint32_t>& removed) {
      if (removed) {
        reply.succeed(*removed);
      } else {
        reply.fail(removed.error());
      }
    });
  });
}

std::uint32_t PoolAdaptor::Min() {
  return guard_value([&] { return pool_.status().min; });
}

std::uint32_t PoolAdaptor::Max() {
  return guard_value([&] { return pool_.status().max; });
}

std::uint64_t PoolAdaptor::IdleTimeoutUSec() {
  return guard_value([&] { return static_cast<std::uint64_t>(pool_.status().idle_timeout.count()); });
}

std::uint32_t PoolAdaptor::Target() {
  return guard_value([&] { return pool_.status().target; });
}

std::uint32_t PoolAdaptor::Warm() {
  return guard_value([&] { return pool_.status().warm; });
}

std::uint32_t PoolAdaptor::Starting() {
  return guard_value([&] { return pool_.status().starting; });
}

std::uint32_t PoolAdaptor::Claimed() {
  return guard_value([&] { return pool_.status().claimed; });
}

std::uint64_t PoolAdaptor::Hits() {
  return guard_value([&] { return pool_.status().hits; });
}

std::uint64_t PoolAdaptor::Misses() {
  return guard_value([&] { return pool_.status().misses; });
}

std::vector<LatencyBucket> PoolAdaptor::ClaimTimes() {
  return guard_value([&] { return to_buckets(pool_.status().claim_times); });
}

std::string PoolAdaptor::Pressure() {
  return guard_value([&] { return pool_.status().pressure; });
}

bool PoolAdaptor::Drained() {
  return guard_value([&] { return pool_.status().drained; });
}

std::string PoolAdaptor::Reason() {
  return guard_value([&] { return bus_text(pool_.status().reason); });
}

}  // namespace hal::bus
