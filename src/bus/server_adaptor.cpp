#include "bus/server_adaptor.hpp"

#include "base/error.hpp"
#include "base/names.hpp"
#include "bus/options.hpp"
#include "bus/signals.hpp"

#include <systemd/sd-bus.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace hal::bus {

namespace {

/** What the link to the gateway carries. */
constexpr std::size_t max_params_bytes = std::size_t{16} << 20;
constexpr std::size_t max_method_bytes = 256;

Error gone(std::string_view name) {
  return {Errc::not_found, fmt::format("there is no MCP server \"{}\"", name)};
}

std::uint32_t to_u32(std::uint64_t number) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(number, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

std::string server_path(std::string_view name) {
  char* path = nullptr;
  if (const int r = sd_bus_path_encode(names::server_path_prefix, std::string(name).c_str(), &path); r < 0) {
    throw_errno("sd_bus_path_encode", -r);
  }
  const std::unique_ptr<char, decltype(&std::free)> owner(path, std::free);
  return path;
}

ServerAdaptor::ServerAdaptor(sdbus::IConnection& connection, ServerControl& servers, Calls& calls, std::string name)
    : AdaptorInterfaces(connection, sdbus::ObjectPath{server_path(name)}),
      servers_(servers),
      calls_(calls),
      name_(std::move(name)) {
  registerAdaptor();
  (void)published_.update(snapshot());
}

ServerAdaptor::~ServerAdaptor() {
  open_calls_->object_gone({Errc::not_found, fmt::format("server {} is gone", name_)});
  unregisterAdaptor();
}

void ServerAdaptor::announce() {
  emit([&] { getObject().emitInterfacesAddedSignal(); });
}

void ServerAdaptor::withdraw() {
  emit([&] { getObject().emitInterfacesRemovedSignal(); });
}

void ServerAdaptor::publish() {
  if (servers_.find(name_) != nullptr) {
    emit_changed(getObject(), INTERFACE_NAME, published_.update(snapshot()));
  }
}

const server::Server& ServerAdaptor::self() const {
  const auto* server = servers_.find(name_);
  if (server == nullptr) {
    const auto error = gone(name_);
    throw compat::make_error(dbus_error_name(error.code), error.message);
  }
  return *server;
}

/** Every property with EmitsChangedSignal "true". */
Published::Snapshot ServerAdaptor::snapshot() const {
  const auto& server = self();
  const auto statistics = servers_.statistics(name_);
  return {
      {"State", std::string(server::name(server.state))},
      {"Reason", server.reason},
      {"Mode", std::string(server::name(server.config.mode))},
      {"Unit", server.unit},
      {"MainPID", std::to_string(server.main_pid)},
      {"Restarts", std::to_string(server.restarts)},
      {"ProtocolVersion", statistics.protocol_version},
      {"ServerInfo", statistics.server_info},
      {"ConfigFile", server.config.file},
      {"Package", server.config.package},
  };
}

/** Runs `then` if the server is there and the caller may; `then` outlives this object. */
template <class... Values, class Then>
void ServerAdaptor::run(const Reply<Values...>& reply, Then then) {
  guard(reply, [&] {
    if (servers_.find(name_) == nullptr) {
      reply.fail(gone(name_));
      return;
    }
    calls_.authorised(getObject(), INTERFACE_NAME, std::nullopt, reply,
                      [then = std::move(then)](const Verdict& verdict) mutable {
                        if constexpr (std::is_invocable_v<Then&, const Verdict&>) {
                          then(verdict);
                        } else {
                          then();
                        }
                      });
  });
}

void ServerAdaptor::Start(sdbus::Result<>&& result) {
  const auto reply = calls_.answer(std::move(result), open_calls_);
  run(reply, [&servers = servers_, name = name_, reply] { servers.start(name, answer_with(reply)); });
}

void ServerAdaptor::Stop(sdbus::Result<>&& result) {
  const auto reply = calls_.answer(std::move(result), open_calls_);
  run(reply, [&servers = servers_, name = name_, reply] { servers.stop(name, answer_with(reply)); });
}

void ServerAdaptor::Restart(sdbus::Result<>&& result) {
  const auto reply = calls_.answer(std::move(result), open_calls_);
  run(reply, [&servers = servers_, name = name_, reply] { servers.restart(name, answer_with(reply)); });
}

void ServerAdaptor::Call(sdbus::Result<std::string>&& result, std::string method, std::string params_json) {
  const auto reply = calls_.answer(std::move(result), open_calls_);
  if (method.empty() || method.size() > max_method_bytes) {
    reply.fail({Errc::invalid_argument, fmt::format("method must be of 1 to {} bytes", max_method_bytes)});
    return;
  }
  if (params_json.size() > max_params_bytes) {
    reply.fail({Errc::limit, fmt::format("params_json must be of at most {} bytes", max_params_bytes)});
    return;
  }
  const auto params = std::make_shared<std::string>(std::move(params_json));
  run(reply, [&servers = servers_, name = name_, method = std::move(method), params, reply] {
    servers.call(name, method, std::move(*params), [reply](const hal::Result<std::string>& text) {
      if (text) {
        reply.succeed(bus_text(*text));
      } else {
        reply.fail(text.error());
      }
    });
  });
}

void ServerAdaptor::Trace(sdbus::Result<sdbus::UnixFd>&& result, std::map<std::string, sdbus::Variant> options) {
  const auto reply = calls_.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    auto values = to_values(options);
    auto request = values ? read_trace_options(std::move(*values)) : values.error();
    if (!request) {
      reply.fail(request.error());
      return;
    }
    run(reply, [&servers = servers_, name = name_, request = std::move(*request), reply](const Verdict& verdict) {
      auto traced = request;
      traced.reader = *verdict.uid;
      traced.all = verdict.all;
      servers.trace(name, std::move(traced), [reply](hal::Result<UniqueFd> lines) {
        lines ? reply.succeed(compat::to_bus(std::move(*lines))) : reply.fail(lines.error());
      });
    });
  });
}

std::string ServerAdaptor::Name() {
  return bus_text(name_);
}

std::string ServerAdaptor::ConfigFile() {
  return guard_value([&] { return bus_text(self().config.file); });
}

std::string ServerAdaptor::Package() {
  return guard_value([&] { return bus_text(self().config.package); });
}

std::string ServerAdaptor::State() {
  return guard_value([&] { return std::string(server::name(self().state)); });
}

std::string ServerAdaptor::Reason() {
  return guard_value([&] { return bus_text(self().reason); });
}

std::string ServerAdaptor::Mode() {
  return guard_value([&] { return std::string(server::name(self().config.mode)); });
}

std::string ServerAdaptor::Unit() {
  return guard_value([&] { return bus_text(self().unit); });
}

std::uint32_t ServerAdaptor::MainPID() {
  return guard_value([&] { return static_cast<std::uint32_t>(self().main_pid); });
}

std::uint32_t ServerAdaptor::Sessions() {
  return guard_value([&] { return to_u32(servers_.statistics(name_).sessions); });
}

std::uint32_t ServerAdaptor::Restarts() {
  return guard_value([&] { return to_u32(self().restarts); });
}

std::uint64_t ServerAdaptor::Requests() {
  return guard_value([&] { return servers_.statistics(name_).requests; });
}

std::uint64_t ServerAdaptor::Errors() {
  return guard_value([&] { return servers_.statistics(name_).errors; });
}

std::uint64_t ServerAdaptor::ToolCalls() {
  return guard_value([&] { return servers_.statistics(name_).calls; });
}

std::uint64_t ServerAdaptor::RefusedCalls() {
  return guard_value([&] { return servers_.statistics(name_).refused; });
}

std::uint64_t ServerAdaptor::BytesReceived() {
  return guard_value([&] { return servers_.statistics(name_).received_bytes; });
}

std::uint64_t ServerAdaptor::BytesSent() {
  return guard_value([&] { return servers_.statistics(name_).sent_bytes; });
}

std::vector<LatencyBucket> ServerAdaptor::Latency() {
  return guard_value([&] { return to_buckets(servers_.statistics(name_).latency); });
}

std::vector<ServerAdaptor::SessionEntry> ServerAdaptor::SessionList() {
  return guard_value([&] {
    std::vector<SessionEntry> out;
    for (const auto& one : servers_.statistics(name_).session_list) {
      out.emplace_back(bus_text(one.session), bus_text(one.worker), one.owner, one.requests, one.calls, one.refused,
                       one.errors, one.received_bytes, one.sent_bytes, to_buckets(one.latency));
    }
    return out;
  });
}

std::string ServerAdaptor::ProtocolVersion() {
  return guard_value([&] { return bus_text(servers_.statistics(name_).protocol_version); });
}

std::string ServerAdaptor::ServerInfo() {
  return guard_value([&] { return bus_text(servers_.statistics(name_).server_info); });
}

}  // namespace hal::bus
