#pragma once

#include "bus/backend.hpp"
#include "bus/calls.hpp"
#include "bus/published.hpp"
#include "bus/reply.hpp"
#include "bus/variant.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <org.hal9000.Server1.adaptor.hpp>

namespace hal::bus {

/** NAME as the last part of an object path, as sd_bus_path_encode escapes it. */
[[nodiscard]] std::string server_path(std::string_view name);

/** org.hal9000.Server1 of one MCP server; looks everything up by its name. */
class ServerAdaptor final : public sdbus::AdaptorInterfaces<org::hal9000::Server1_adaptor> {
 public:
  ServerAdaptor(sdbus::IConnection& connection, ServerControl& servers, Calls& calls, std::string name);
  ~ServerAdaptor();
  ServerAdaptor(const ServerAdaptor&) = delete;
  ServerAdaptor& operator=(const ServerAdaptor&) = delete;

  void announce();
  void withdraw();
  /** Tells what has changed since the last time. */
  void publish();

 private:
  using SessionEntry =
      sdbus::Struct<std::string, std::string, std::uint32_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                    std::uint64_t, std::uint64_t, std::vector<LatencyBucket>>;

  template <class... Values, class Then>
  void run(const Reply<Values...>& reply, Then then);
  [[nodiscard]] const server::Server& self() const;
  [[nodiscard]] Published::Snapshot snapshot() const;

  void Start(sdbus::Result<>&& result) override;
  void Stop(sdbus::Result<>&& result) override;
  void Restart(sdbus::Result<>&& result) override;
  void Call(sdbus::Result<std::string>&& result, std::string method, std::string params_json) override;
  void Trace(sdbus::Result<sdbus::UnixFd>&& result, std::map<std::string, sdbus::Variant> options) override;

  std::string ConfigFile() override;
  std::string Name() override;
  std::string Package() override;
  std::string State() override;
  std::string Reason() override;
  std::string Mode() override;
  std::string Unit() override;
  std::uint32_t MainPID() override;
  std::uint32_t Sessions() override;
  std::uint32_t Restarts() override;
  std::uint64_t Requests() override;
  std::uint64_t Errors() override;
  std::uint64_t ToolCalls() override;
  std::uint64_t RefusedCalls() override;
  std::uint64_t BytesReceived() override;
  std::uint64_t BytesSent() override;
  std::vector<LatencyBucket> Latency() override;
  std::vector<SessionEntry> SessionList() override;
  std::string ProtocolVersion() override;
  std::string ServerInfo() override;

  ServerControl& servers_;
  Calls& calls_;
  std::string name_;
  Published published_;
  std::shared_ptr<OpenCalls> open_calls_ = std::make_shared<OpenCalls>();
};

}  // namespace hal::bus
