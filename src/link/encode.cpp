#include "json/json.hpp"
#include "link/memory_file.hpp"
#include "link/messages.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::link {

namespace {

using Json = nlohmann::json;
using Fds = std::vector<UniqueFd>;

const char* mode_name(ServerMode mode) {
  return mode == ServerMode::shared ? "shared" : "session";
}

const char* audit_name(Audit audit) {
  return audit == Audit::off ? "off" : audit == Audit::hash ? "hash" : "arguments";
}

/** Without the zeros at the end of the histogram. */
Json to_json(const Traffic& traffic) {
  Json latency = traffic.latency.counts;
  while (!latency.empty() && latency.back() == 0) {
    latency.erase(latency.size() - 1);
  }
  return {{"requests", traffic.requests},
          {"errors", traffic.errors},
          {"calls", traffic.calls},
          {"refused", traffic.refused},
          {"received_bytes", traffic.received_bytes},
          {"sent_bytes", traffic.sent_bytes},
          {"latency", std::move(latency)}};
}

void put_session(Json& object, const std::optional<SessionId>& session) {
  if (session) {
    object["session"] = session->value;
  }
}

Json to_json(DaemonHello& message, Fds&) {
  return {{"kind", "hello"}, {"version", message.version}};
}

Json to_json(GatewayHello& message, Fds&) {
  Json workers = Json::array();
  for (const auto& worker : message.workers) {
    workers.push_back(worker.value);
  }
  Json instances = Json::array();
  for (const auto& held : message.instances) {
    Json one = {{"server", held.server}, {"instance", held.instance.value}};
    if (held.session) {
      one["session"] = held.session->value;
    }
    instances.push_back(std::move(one));
  }
  return {{"kind", "hello"},
          {"version", message.version},
          {"workers", std::move(workers)},
          {"instances", std::move(instances)},
          {"http_networks", message.http_networks}};
}

Json to_json(WorkerAdd& message, Fds& fds) {
  if (message.listener) {
    fds.push_back(std::move(message.listener));
  }
  Json tools = Json::array();
  for (const auto& entry : message.tools) {
    tools.push_back({{"server", entry.server}, {"rules", policy::to_text(entry.rules)}});
  }
  return {{"kind", "worker_add"},       {"id", message.id.value}, {"owner", message.owner},
          {"servers", message.servers}, {"token", message.token}, {"tools", std::move(tools)}};
}

Json to_json(HttpListen& message, Fds& fds) {
  fds.push_back(std::move(message.listener));
  return {{"kind", "http_listen"}, {"network", message.network}, {"worker", message.worker.value}};
}

Json to_json(HttpClose& message, Fds&) {
  return {{"kind", "http_close"}, {"network", message.network}};
}

Json to_json(WorkerRemove& message, Fds&) {
  return {{"kind", "worker_remove"}, {"id", message.id.value}};
}

Json to_json(ServerSet& message, Fds&) {
  return {{"kind", "server_set"},
          {"name", message.name},
          {"mode", mode_name(message.mode)},
          {"max_sessions", message.max_sessions},
          {"max_requests", message.max_requests},
          {"request_timeout_ms", message.request_timeout_ms},
          {"idle_timeout_ms", message.idle_timeout_ms},
          {"tools", policy::to_text(message.tools)},
          {"audit", audit_name(message.audit)},
          {"configuration", message.configuration}};
}

Json to_json(ServerRemove& message, Fds&) {
  return {{"kind", "server_remove"}, {"name", message.name}};
}

Json to_json(InstanceAttach& message, Fds& fds) {
  fds.push_back(std::move(message.to_server));
  fds.push_back(std::move(message.from_server));
  Json object{{"kind", "instance_attach"}, {"server", message.server}, {"instance", message.instance.value}};
  put_session(object, message.session);
  return object;
}

Json to_json(InstanceGone& message, Fds&) {
  return {{"kind", "instance_gone"},
          {"server", message.server},
          {"instance", message.instance.value},
          {"reason", message.reason}};
}

Json to_json(ServerUnavailable& message, Fds&) {
  Json object{{"kind", "server_unavailable"}, {"server", message.server}, {"reason", message.reason}};
  put_session(object, message.session);
  if (message.retry_in_ms) {
    object["retry_in_ms"] = *message.retry_in_ms;
  }
  return object;
}

Json to_json(Call& message, Fds&) {
  return {{"kind", "call"},
          {"id", message.id},
          {"server", message.server},
          {"method", message.method},
          {"params", message.params}};
}

Json to_json(Trace& message, Fds& fds) {
  fds.push_back(std::move(message.pipe));
  return {{"kind", "trace"},    {"id", message.id},         {"server", message.server},    {"owner", message.owner},
          {"all", message.all}, {"worker", message.worker}, {"payloads", message.payloads}};
}

Json to_json(InstanceRequest& message, Fds&) {
  Json object{{"kind", "instance_request"}, {"server", message.server}};
  put_session(object, message.session);
  return object;
}

Json to_json(InstanceRelease& message, Fds&) {
  return {{"kind", "instance_release"}, {"server", message.server}, {"instance", message.instance.value}};
}

Json to_json(ServerReport& message, Fds&) {
  Json sessions = Json::array();
  for (const auto& session : message.sessions) {
    sessions.push_back({{"session", session.session},
                        {"worker", session.worker},
                        {"owner", session.owner},
                        {"traffic", to_json(session.traffic)}});
  }
  return {{"kind", "server_report"},
          {"name", message.name},
          {"traffic", to_json(message.traffic)},
          {"sessions", std::move(sessions)},
          {"protocol_version", message.protocol_version},
          {"server_info", message.server_info},
          {"last_activity_usec", message.last_activity_usec}};
}

Json to_json(WorkerReport& message, Fds&) {
  return {{"kind", "worker_report"},
          {"id", message.id.value},
          {"sessions", message.sessions},
          {"last_activity_usec", message.last_activity_usec}};
}

Json to_json(CallResult& message, Fds&) {
  if (message.result) {
    return {{"kind", "call_result"}, {"id", message.id}, {"result", *message.result}};
  }
  const auto& error = message.result.error();
  return {{"kind", "call_result"}, {"id", message.id}, {"code", name(error.code)}, {"error", error.message}};
}

template <class Variant>
Result<io::Message> encode_any(Variant& message) {
  io::Message datagram;
  const Json object = std::visit([&](auto& kind) { return to_json(kind, datagram.fds); }, message);
  datagram.bytes = json::dump(object);
  if (datagram.bytes.size() > max_message_bytes) {
    return Error{Errc::limit, fmt::format("a link message of {} bytes", datagram.bytes.size())};
  }
  if (datagram.bytes.size() > inline_bytes) {
    auto file = to_memory_file(datagram.bytes);
    if (!file) {
      return file.error();
    }
    datagram.bytes = in_memory_file;
    datagram.fds.push_back(std::move(*file));
  }
  return datagram;
}

}  // namespace

Result<io::Message> encode(ToGateway message) {
  return encode_any(message);
}

Result<io::Message> encode(ToDaemon message) {
  return encode_any(message);
}

}  // namespace hal::link
