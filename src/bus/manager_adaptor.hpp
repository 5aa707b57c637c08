#pragma once

#include "bus/backend.hpp"
#include "bus/calls.hpp"
#include "bus/jobs.hpp"
#include "bus/options.hpp"
#include "bus/published.hpp"
#include "bus/reply.hpp"
#include "bus/spawner.hpp"
#include "worker/registry.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <org.hal9000.Manager1.adaptor.hpp>

namespace hal::bus {

/** What the manager's adaptor works on; outlives it. */
struct ManagerContext {
  DaemonControl& daemon;
  worker::Registry& registry;
  ServerEditor& editor;
  ImageControl& images;
  Calls& calls;
  Jobs& jobs;
  Spawner& spawner;
};

/** org.hal9000.Manager1, and the ObjectManager of all objects. */
class ManagerAdaptor final
    : public sdbus::AdaptorInterfaces<org::hal9000::Manager1_adaptor, sdbus::ObjectManager_adaptor> {
 public:
  ManagerAdaptor(sdbus::IConnection& connection, ManagerContext context);
  ~ManagerAdaptor();
  ManagerAdaptor(const ManagerAdaptor&) = delete;
  ManagerAdaptor& operator=(const ManagerAdaptor&) = delete;

  /** Tells what has changed since the last time. */
  void publish();
  void tell_job_new(std::uint32_t id);
  void tell_job_removed(std::uint32_t id, std::string_view result);

 private:
  static constexpr const char* interface_name = org::hal9000::Manager1_adaptor::INTERFACE_NAME;
  using Options = std::map<std::string, sdbus::Variant>;
  using Row = sdbus::Struct<std::string, std::string, std::string, std::uint32_t, std::int64_t, sdbus::ObjectPath>;
  using ImageRow = sdbus::Struct<std::string, std::string, std::uint64_t, std::string, std::string, std::string>;
  using ServerRow = sdbus::Struct<std::string, std::string, std::string>;

  template <class... Values, class Then>
  void run(const Reply<Values...>& reply, Then then);
  /** Answers with the job's object. */
  static void start_job(const Reply<sdbus::ObjectPath>& reply, Jobs& jobs, const char* kind, uid_t caller,
                        const Jobs::Begin& begin);
  void spawn(const Reply<sdbus::ObjectPath>& reply, Result<worker::SpawnRequest> request);
  [[nodiscard]] Published::Snapshot snapshot() const;

  void Spawn(sdbus::Result<sdbus::ObjectPath>&& result, std::string workspace, Options options) override;
  void SpawnAt(sdbus::Result<sdbus::ObjectPath>&& result, sdbus::UnixFd directory, Options options) override;
  void GetWorker(sdbus::Result<sdbus::ObjectPath>&& result, std::string id_or_name) override;
  std::vector<Row> ListWorkers() override;
  void AddServers(sdbus::Result<std::vector<ServerRow>>&& result, std::string servers, Options options) override;
  void InstallServer(sdbus::Result<sdbus::ObjectPath>&& result, std::string name, std::string package,
                     Options options) override;
  void RemoveServer(sdbus::Result<>&& result, std::string name) override;
  void Reload(sdbus::Result<>&& result) override;
  void ListImages(sdbus::Result<std::vector<ImageRow>>&& result) override;
  void BuildImages(sdbus::Result<sdbus::ObjectPath>&& result, std::vector<std::string> images,
                   Options options) override;
  void LoadImages(sdbus::Result<sdbus::ObjectPath>&& result, sdbus::UnixFd archive) override;
  void StopAll(sdbus::Result<sdbus::ObjectPath>&& result, std::uint32_t timeout_ms) override;

  std::string Version() override;
  std::string State() override;
  std::uint32_t NWorkers() override;
  std::map<std::string, sdbus::Variant> Engine() override;
  std::vector<std::string> Features() override;

  ManagerContext context_;
  Published published_;
};

}  // namespace hal::bus
