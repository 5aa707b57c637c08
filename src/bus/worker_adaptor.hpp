#pragma once

#include "bus/calls.hpp"
#include "bus/leases.hpp"
#include "bus/published.hpp"
#include "bus/reply.hpp"
#include "worker/registry.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <org.hal9000.Worker1.adaptor.hpp>

namespace hal::bus {

/** What the workers' adaptors work on; outlives them. */
struct WorkerContext {
  worker::Registry& registry;
  Calls& calls;
  Leases& leases;
};

[[nodiscard]] std::string worker_path(const WorkerId& id);

/** org.hal9000.Worker1 of one worker; looks everything up by its id. */
class WorkerAdaptor final : public sdbus::AdaptorInterfaces<org::hal9000::Worker1_adaptor> {
 public:
  WorkerAdaptor(sdbus::IConnection& connection, WorkerContext context, WorkerId id);
  ~WorkerAdaptor();
  WorkerAdaptor(const WorkerAdaptor&) = delete;
  WorkerAdaptor& operator=(const WorkerAdaptor&) = delete;

  /** The signals of ObjectManager. */
  void announce();
  void withdraw();
  /** Tells what has changed since the last time. */
  void publish();

 private:
  using Options = std::map<std::string, sdbus::Variant>;

  template <class... Values, class Then>
  void run(const Reply<Values...>& reply, Then then);
  [[nodiscard]] const worker::Worker& self() const;
  [[nodiscard]] Published::Snapshot snapshot() const;

  void Attach(sdbus::Result<sdbus::UnixFd, std::string>&& result, Options options) override;
  void Lease(sdbus::Result<sdbus::UnixFd>&& result) override;
  void Exec(sdbus::Result<sdbus::UnixFd, std::string>&& result, std::vector<std::string> argv,
            Options options) override;
  void WaitExec(sdbus::Result<std::int32_t>&& result, std::string id) override;
  void ResizeTerminal(sdbus::Result<>&& result, std::string id, std::uint16_t rows, std::uint16_t columns) override;
  void Send(sdbus::Result<>&& result, std::string text) override;
  void Capture(sdbus::Result<std::string>&& result, std::uint32_t lines) override;
  void Logs(sdbus::Result<sdbus::UnixFd>&& result, Options options) override;
  void Stop(sdbus::Result<>&& result, std::uint32_t timeout_ms) override;
  void Kill(sdbus::Result<>&& result, std::string signal) override;
  void Remove(sdbus::Result<>&& result) override;
  void Restart(sdbus::Result<>&& result) override;
  void Pause(sdbus::Result<>&& result) override;
  void Resume(sdbus::Result<>&& result) override;
  void SetLimits(sdbus::Result<>&& result, Options limits) override;

  std::string Id() override;
  std::string Name() override;
  std::string State() override;
  std::string Reason() override;
  std::uint32_t Owner() override;
  std::string Workspace() override;
  std::string Profile() override;
  std::string Image() override;
  std::string ContainerId() override;
  std::uint32_t Pid() override;
  std::vector<std::string> Servers() override;
  std::uint64_t CreatedUSec() override;
  std::uint64_t LastActivityUSec() override;
  std::uint64_t MemoryCurrent() override;
  std::uint64_t MemoryMax() override;
  std::uint64_t CPUUsageNSec() override;
  double CPUMax() override;
  std::uint64_t TasksCurrent() override;
  std::uint64_t TasksMax() override;
  std::uint32_t Restarts() override;
  std::int32_t ExitCode() override;

  WorkerContext context_;
  WorkerId id_;
  /** Each call that waits for a program's end holds one reference. */
  std::shared_ptr<const char> waiting_ = std::make_shared<const char>();
  Published published_;
  std::shared_ptr<OpenCalls> open_calls_ = std::make_shared<OpenCalls>();
};

}  // namespace hal::bus
