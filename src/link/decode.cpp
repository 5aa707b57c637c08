#include "base/text.hpp"
#include "json/json.hpp"
#include "link/memory_file.hpp"
#include "link/messages.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::link {

namespace {

using Json = nlohmann::json;

constexpr json::Limits document_limits{.bytes = max_message_bytes, .depth = 6, .values = limits::json_values};

/** Takes the members of one message; the first error is kept, and what nobody took is an error in the end. */
class Members {
 public:
  Members(const Json& object, std::vector<UniqueFd> fds) : object_(object), fds_(std::move(fds)) {}

  std::string text(const char* key) { return keep(json::string_at(object_, key), key); }
  std::uint64_t number(const char* key) { return keep(json::unsigned_at(object_, key), key); }
  bool flag(const char* key) { return keep(json::bool_at(object_, key), key); }
  std::vector<std::string> texts(const char* key) { return keep(json::strings_at(object_, key), key); }
  std::optional<std::string> optional_text(const char* key) {
    return keep(json::optional_string_at(object_, key), key);
  }
  std::optional<std::uint64_t> optional_number(const char* key) {
    return keep(json::optional_unsigned_at(object_, key), key);
  }

  std::uint32_t number32(const char* key) {
    const auto value = number(key);
    if (value > UINT32_MAX) {
      refuse(fmt::format("{}: is too large", key));
    }
    return static_cast<std::uint32_t>(value);
  }
  std::string name(const char* key) {
    auto value = text(key);
    if (!text::is_name(value)) {
      refuse(fmt::format("{}: is no name", key));
    }
    return value;
  }
  InstanceId instance(const char* key = "instance") { return {number(key)}; }
  std::optional<SessionId> session() {
    auto value = optional_text("session");
    return value ? std::optional(SessionId{std::move(*value)}) : std::nullopt;
  }
  const Json& array(const char* key) {
    static const Json none = Json::array();
    const auto* found = keep(json::array_at(object_, key), key);
    return found != nullptr ? *found : none;
  }

  policy::ToolRules rules(const std::string& from) {
    auto rules = policy::from_text(from);
    if (!rules) {
      refuse("tools: " + rules.error().message);
      return {};
    }
    return std::move(*rules);
  }
  Traffic traffic(const Json& object) {
    Traffic traffic;
    for (const auto& [key, target] :
         {std::pair{"requests", &traffic.requests}, std::pair{"errors", &traffic.errors},
          std::pair{"calls", &traffic.calls}, std::pair{"refused", &traffic.refused},
          std::pair{"received_bytes", &traffic.received_bytes}, std::pair{"sent_bytes", &traffic.sent_bytes}}) {
      const auto value = json::unsigned_at(object, key, "traffic");
      value ? static_cast<void>(*target = *value) : refuse(value.error().message);
    }
    const auto latency = json::array_at(object, "latency", "traffic");
    if (!latency || (*latency)->size() > Latency::buckets) {
      refuse("traffic.latency: is no histogram");
      return traffic;
    }
    for (std::size_t i = 0; i < (*latency)->size(); ++i) {
      const auto* count = (**latency)[i].get_ptr<const Json::number_unsigned_t*>();
      count != nullptr ? static_cast<void>(traffic.latency.counts[i] = *count) : refuse("traffic.latency: a count");
    }
    return traffic;
  }
  const Json& object(const char* key) {
    static const Json none = Json::object();
    const auto* found = keep(json::object_at(object_, key), key);
    return found != nullptr ? *found : none;
  }

  UniqueFd fd() {
    if (next_fd_ == fds_.size()) {
      refuse("a descriptor is missing");
      return {};
    }
    return std::move(fds_[next_fd_++]);
  }
  [[nodiscard]] bool has_fd() const { return next_fd_ < fds_.size(); }

  void refuse(std::string what) {
    if (!error_) {
      error_ = Error{Errc::protocol, std::move(what)};
    }
  }

  /** Nothing left over, nothing wrong. */
  [[nodiscard]] Result<void> finish() {
    if (error_) {
      return *error_;
    }
    if (has_fd()) {
      return Error{Errc::protocol, "more descriptors than expected"};
    }
    if (taken_ + 1 < object_.size()) {  // 1: kind
      return Error{Errc::protocol, "an unknown key"};
    }
    return {};
  }

 private:
  template <class T>
  T keep(Result<T> value, const char* key) {
    taken_ += static_cast<std::size_t>(object_.contains(key));
    if (!value) {
      refuse(value.error().message);
      return {};
    }
    return std::move(*value);
  }

  const Json& object_;
  std::vector<UniqueFd> fds_;
  std::size_t next_fd_ = 0;
  std::size_t taken_ = 0;
  std::optional<Error> error_;
};

// Braced initialisers are evaluated left to right, as the descriptors stand in the message.

DaemonHello daemon_hello(Members& in) {
  return {in.number("version")};
}

std::vector<WorkerTools> worker_tools(Members& in) {
  std::vector<WorkerTools> tools;
  for (const auto& entry : in.array("tools")) {
    auto server = json::string_at(entry, "server", "tools[]");
    const auto rules = json::string_at(entry, "rules", "tools[]");
    if (!server || !rules) {
      in.refuse(!server ? server.error().message : rules.error().message);
      break;
    }
    tools.push_back({std::move(*server), in.rules(*rules)});
  }
  return tools;
}

WorkerAdd worker_add(Members& in) {
  return {WorkerId{in.name("id")}, in.number32("owner"), in.texts("servers"), in.has_fd() ? in.fd() : UniqueFd(),
          in.text("token"),        worker_tools(in)};
}

HttpListen http_listen(Members& in) {
  return {in.text("network"), in.fd(), WorkerId{in.text("worker")}};
}

HttpClose http_close(Members& in) {
  return {in.text("network")};
}

WorkerRemove worker_remove(Members& in) {
  return {WorkerId{in.name("id")}};
}

ServerSet server_set(Members& in) {
  ServerSet message;
  message.name = in.name("name");
  const auto mode = in.text("mode");
  if (mode != "shared" && mode != "session") {
    in.refuse("mode: must be \"shared\" or \"session\"");
  }
  message.mode = mode == "shared" ? ServerMode::shared : ServerMode::session;
  message.max_sessions = in.number("max_sessions");
  message.max_requests = in.number("max_requests");
  message.request_timeout_ms = in.number("request_timeout_ms");
  message.idle_timeout_ms = in.number("idle_timeout_ms");
  message.tools = in.rules(in.text("tools"));
  message.configuration = in.text("configuration");
  const auto audit = in.text("audit");
  if (audit != "hash" && audit != "arguments" && audit != "off") {
    in.refuse("audit: must be \"hash\", \"arguments\" or \"off\"");
  }
  message.audit = audit == "off" ? Audit::off : audit == "hash" ? Audit::hash : Audit::arguments;
  return message;
}

ServerRemove server_remove(Members& in) {
  return {in.name("name")};
}

InstanceAttach instance_attach(Members& in) {
  return {in.name("server"), in.instance(), in.session(), in.fd(), in.fd()};
}

InstanceGone instance_gone(Members& in) {
  return {in.name("server"), in.instance(), in.text("reason")};
}

ServerUnavailable server_unavailable(Members& in) {
  return {in.name("server"), in.session(), in.text("reason"), in.optional_number("retry_in_ms")};
}

Call call(Members& in) {
  return {in.number("id"), in.name("server"), in.text("method"), in.text("params")};
}

Trace trace(Members& in) {
  return {in.number("id"), in.name("server"), in.number32("owner"),
          in.flag("all"),  in.text("worker"), in.flag("payloads"),
          in.fd()};
}

GatewayHello gateway_hello(Members& in) {
  GatewayHello message;
  message.version = in.number("version");
  for (auto& worker : in.texts("workers")) {
    message.workers.push_back({std::move(worker)});
  }
  for (const auto& held : in.array("instances")) {
    auto server = json::string_at(held, "server", "instances[]");
    auto instance = json::unsigned_at(held, "instance", "instances[]");
    auto session = json::optional_string_at(held, "session", "instances[]");
    if (!server || !instance || !session) {
      in.refuse(!server ? server.error().message : !instance ? instance.error().message : session.error().message);
      break;
    }
    message.instances.push_back({std::move(*server), {*instance}});
    if (*session) {
      message.instances.back().session = SessionId{std::move(**session)};
    }
  }
  message.http_networks = in.texts("http_networks");
  return message;
}

InstanceRequest instance_request(Members& in) {
  return {in.name("server"), in.session()};
}

InstanceRelease instance_release(Members& in) {
  return {in.name("server"), in.instance()};
}

ServerReport server_report(Members& in) {
  ServerReport report;
  report.name = in.name("name");
  report.traffic = in.traffic(in.object("traffic"));
  for (const auto& entry : in.array("sessions")) {
    auto session = json::string_at(entry, "session", "sessions[]");
    auto worker = json::string_at(entry, "worker", "sessions[]");
    const auto owner = json::unsigned_at(entry, "owner", "sessions[]");
    const auto traffic = json::object_at(entry, "traffic", "sessions[]");
    if (!session || !worker || !owner || *owner > UINT32_MAX || !traffic) {
      in.refuse("sessions[]: is no session");
      break;
    }
    report.sessions.push_back(
        {std::move(*session), std::move(*worker), static_cast<std::uint32_t>(*owner), in.traffic(**traffic)});
  }
  report.protocol_version = in.text("protocol_version");
  report.server_info = in.text("server_info");
  report.last_activity_usec = in.number("last_activity_usec");
  return report;
}

WorkerReport worker_report(Members& in) {
  return {WorkerId{in.name("id")}, in.number("sessions"), in.number("last_activity_usec")};
}

CallResult call_result(Members& in) {
  CallResult message;
  message.id = in.number("id");
  if (auto result = in.optional_text("result")) {
    message.result = std::move(*result);
    return message;
  }
  const auto code_name = in.text("code");
  Error error{Errc::internal, in.text("error")};
  for (const auto code : all_errcs) {
    if (name(code) == code_name) {
      error.code = code;
    }
  }
  message.result = std::move(error);
  return message;
}

template <class Variant>
struct Decoder {
  std::string_view kind;
  Variant (*decode)(Members&);
};

template <class Variant, auto function>
Variant as(Members& in) {
  return function(in);
}

constexpr Decoder<ToGateway> to_gateway_decoders[] = {
    {"hello", as<ToGateway, daemon_hello>},
    {"worker_add", as<ToGateway, worker_add>},
    {"worker_remove", as<ToGateway, worker_remove>},
    {"http_listen", as<ToGateway, http_listen>},
    {"http_close", as<ToGateway, http_close>},
    {"server_set", as<ToGateway, server_set>},
    {"server_remove", as<ToGateway, server_remove>},
    {"instance_attach", as<ToGateway, instance_attach>},
    {"instance_gone", as<ToGateway, instance_gone>},
    {"server_unavailable", as<ToGateway, server_unavailable>},
    {"call", as<ToGateway, call>},
    {"trace", as<ToGateway, trace>},
};

constexpr Decoder<ToDaemon> to_daemon_decoders[] = {
    {"hello", as<ToDaemon, gateway_hello>},
    {"instance_request", as<ToDaemon, instance_request>},
    {"instance_release", as<ToDaemon, instance_release>},
    {"server_report", as<ToDaemon, server_report>},
    {"worker_report", as<ToDaemon, worker_report>},
    {"call_result", as<ToDaemon, call_result>},
};

template <class Variant, std::size_t count>
Result<Variant> decode_any(io::Message message, const Decoder<Variant> (&decoders)[count]) {
  if (message.bytes == in_memory_file && !message.fds.empty()) {
    auto text = from_memory_file(message.fds.back(), max_message_bytes);
    if (!text) {
      return text.error();
    }
    message.fds.pop_back();
    message.bytes = std::move(*text);
  }
  const auto object = json::parse(message.bytes, document_limits);
  if (!object) {
    return object.error().with("link message");
  }
  const auto kind = json::string_at(*object, "kind");
  if (!kind) {
    return kind.error().with("link message");
  }
  for (const auto& decoder : decoders) {
    if (decoder.kind == *kind) {
      Members members(*object, std::move(message.fds));
      Variant decoded = decoder.decode(members);
      if (const auto finished = members.finish(); !finished) {
        return finished.error().with("link message " + *kind);
      }
      return decoded;
    }
  }
  return Error{Errc::protocol, "link message of unknown kind " + text::printable(*kind)};
}

}  // namespace

Result<ToGateway> decode_to_gateway(io::Message message) {
  return decode_any(std::move(message), to_gateway_decoders);
}

Result<ToDaemon> decode_to_daemon(io::Message message) {
  return decode_any(std::move(message), to_daemon_decoders);
}

}  // namespace hal::link
