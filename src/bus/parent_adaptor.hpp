#pragma once

#include "bus/calls.hpp"
#include "bus/published.hpp"
#include "bus/reply.hpp"
#include "worker/parent.hpp"

#include <cstdint>
#include <string>

#include <org.hal9000.Parent1.adaptor.hpp>

namespace hal::bus {

/** org.hal9000.Parent1. */
class ParentAdaptor final : public sdbus::AdaptorInterfaces<org::hal9000::Parent1_adaptor> {
 public:
  ParentAdaptor(sdbus::IConnection& connection, worker::Parent& parent, Calls& calls);
  ~ParentAdaptor();
  ParentAdaptor(const ParentAdaptor&) = delete;
  ParentAdaptor& operator=(const ParentAdaptor&) = delete;

  /** Tells what has changed since the last time. */
  void publish();

 private:
  [[nodiscard]] Published::Snapshot snapshot() const;

  void RestartChroma(sdbus::Result<>&& result) override;

  std::string State() override;
  std::string Reason() override;
  std::string ContainerId() override;
  std::uint32_t Pid() override;
  std::string ChromaContainerId() override;
  std::string ChromaHealth() override;

  worker::Parent& parent_;
  Calls& calls_;
  Published published_;
};

}  // namespace hal::bus
