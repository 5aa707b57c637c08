#include "bus/errors.hpp"
#include "bus/worker_adaptor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace hal::bus {

namespace {

bool ended(worker::State state) {
  return state == worker::State::exited || state == worker::State::failed;
}

std::int32_t exit_code(const worker::Worker& worker) {
  return ended(worker.state) ? worker.exit_code : -1;
}

std::string state_name(const worker::Worker& worker) {
  return std::string(worker::name(worker.state));
}

}  // namespace

const worker::Worker& WorkerAdaptor::self() const {
  const auto* worker = context_.registry.find(id_);
  if (worker == nullptr) {
    throw compat::make_error(dbus_error_name(Errc::not_found), fmt::format("worker {} is gone", id_.value));
  }
  return *worker;
}

/** Every property with EmitsChangedSignal "true". */
Published::Snapshot WorkerAdaptor::snapshot() const {
  const auto& worker = self();
  return {
      {"Name", worker.name},
      {"State", state_name(worker)},
      {"Reason", worker.reason},
      {"Owner", std::to_string(worker.owner)},
      {"Workspace", worker.workspace},
      {"ContainerId", worker.container.value},
      {"Pid", std::to_string(worker.pid)},
      {"CreatedUSec", std::to_string(worker.created_usec)},
      {"Servers", fmt::format("{}", worker.servers)},
      {"MemoryMax", std::to_string(worker.limits.memory_bytes)},
      {"CPUMax", fmt::format("{}", worker.limits.cpus)},
      {"TasksMax", std::to_string(worker.limits.pids)},
      {"Restarts", std::to_string(worker.restarts)},
      {"ExitCode", std::to_string(exit_code(worker))},
  };
}

std::string WorkerAdaptor::Id() {
  return id_.value;
}

std::string WorkerAdaptor::Name() {
  return guard_value([&] { return bus_text(self().name); });
}

std::string WorkerAdaptor::State() {
  return guard_value([&] { return state_name(self()); });
}

std::string WorkerAdaptor::Reason() {
  return guard_value([&] { return bus_text(self().reason); });
}

std::uint32_t WorkerAdaptor::Owner() {
  return guard_value([&] { return std::uint32_t{self().owner}; });
}

std::string WorkerAdaptor::Workspace() {
  return guard_value([&] { return bus_text(self().workspace); });
}

std::string WorkerAdaptor::Profile() {
  return guard_value([&] { return bus_text(self().profile); });
}

std::string WorkerAdaptor::Image() {
  return guard_value([&] { return bus_text(self().image); });
}

std::string WorkerAdaptor::ContainerId() {
  return guard_value([&] { return bus_text(self().container.value); });
}

std::uint32_t WorkerAdaptor::Pid() {
  return guard_value([&] { return static_cast<std::uint32_t>(self().pid); });
}

std::vector<std::string> WorkerAdaptor::Servers() {
  return guard_value([&] {
    std::vector<std::string> servers;
    for (const auto& server : self().servers) {
      servers.push_back(bus_text(server));
    }
    return servers;
  });
}

std::uint64_t WorkerAdaptor::CreatedUSec() {
  return guard_value([&] { return self().created_usec; });
}

std::uint64_t WorkerAdaptor::LastActivityUSec() {
  return guard_value([&] { return context_.registry.last_activity(id_); });
}

std::uint64_t WorkerAdaptor::MemoryCurrent() {
  return guard_value([&] { return context_.registry.usage(id_).memory_bytes; });
}

std::uint64_t WorkerAdaptor::MemoryMax() {
  return guard_value([&] { return self().limits.memory_bytes; });
}

std::uint64_t WorkerAdaptor::CPUUsageNSec() {
  return guard_value([&] { return context_.registry.usage(id_).cpu_nanoseconds; });
}

double WorkerAdaptor::CPUMax() {
  return guard_value([&] { return self().limits.cpus; });
}

std::uint64_t WorkerAdaptor::TasksCurrent() {
  return guard_value([&] { return context_.registry.usage(id_).pids; });
}

std::uint64_t WorkerAdaptor::TasksMax() {
  return guard_value([&] { return self().limits.pids; });
}

std::uint32_t WorkerAdaptor::Restarts() {
  return guard_value([&] { return self().restarts; });
}

std::int32_t WorkerAdaptor::ExitCode() {
  return guard_value([&] { return exit_code(self()); });
}

}  // namespace hal::bus
