#pragma once

#include "bus/calls.hpp"
#include "bus/jobs.hpp"
#include "bus/published.hpp"
#include "bus/reply.hpp"
#include "bus/spawner.hpp"
#include "bus/variant.hpp"
#include "worker/pool.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <org.hal9000.Pool1.adaptor.hpp>

namespace hal::bus {

/** org.hal9000.Pool1. */
class PoolAdaptor final : public sdbus::AdaptorInterfaces<org::hal9000::Pool1_adaptor> {
 public:
  PoolAdaptor(sdbus::IConnection& connection, worker::Pool& pool, Spawner& spawner, Calls& calls, Jobs& jobs);
  ~PoolAdaptor();
  PoolAdaptor(const PoolAdaptor&) = delete;
  PoolAdaptor& operator=(const PoolAdaptor&) = delete;

  /** Tells what has changed since the last time. */
  void publish();

 private:
  using Options = std::map<std::string, sdbus::Variant>;

  template <class... Values, class Then>
  void run(const Reply<Values...>& reply, Then then);
  void start_job(const Reply<sdbus::ObjectPath>& reply, std::string kind, Jobs::Begin begin);
  [[nodiscard]] Published::Snapshot snapshot() const;

  void Claim(sdbus::Result<sdbus::ObjectPath>&& result, std::string workspace, Options options) override;
  void Scale(sdbus::Result<>&& result, std::uint32_t min, std::uint32_t max) override;
  void Configure(sdbus::Result<>&& result, Options settings) override;
  void Warm(sdbus::Result<sdbus::ObjectPath>&& result, std::uint32_t n) override;
  void Drain(sdbus::Result<sdbus::ObjectPath>&& result) override;
  void Cleanup(sdbus::Result<std::uint32_t>&& result) override;

  std::uint32_t Min() override;
  std::uint32_t Max() override;
  std::uint64_t IdleTimeoutUSec() override;
  std::uint32_t Target() override;
  std::uint32_t Warm() override;
  std::uint32_t Starting() override;
  std::uint32_t Claimed() override;
  std::uint64_t Hits() override;
  std::uint64_t Misses() override;
  std::vector<LatencyBucket> ClaimTimes() override;
  std::string Pressure() override;
  bool Drained() override;
  std::string Reason() override;

  worker::Pool& pool_;
  Spawner& spawner_;
  Calls& calls_;
  Jobs& jobs_;
  Published published_;
};

}  // namespace hal::bus
