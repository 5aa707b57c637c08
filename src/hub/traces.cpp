#include "hub/traces.hpp"

#include "base/text.hpp"
#include "hub/hub_limits.hpp"
#include "hub/tracer.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

/** One message, but for its payload. */
struct Traces::Line {
  std::string_view from;
  jsonrpc::Kind kind = jsonrpc::Kind::request;
  std::string_view method;
  std::string_view id;
  std::string_view tool;
  std::optional<std::chrono::nanoseconds> time;
  std::string_view outcome;
};

namespace {

/** Of methods, names of tools and ids. */
constexpr std::size_t max_word_bytes = 128;

std::uint64_t realtime_usec() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

std::string_view kind_name(jsonrpc::Kind kind) {
  switch (kind) {
    case jsonrpc::Kind::request:
      return "request";
    case jsonrpc::Kind::notification:
      return "notification";
    case jsonrpc::Kind::error:
      return "error";
    default:
      return "result";
  }
}

std::string_view end_name(TraceEnd end) {
  switch (end) {
    case TraceEnd::worker_gone:
      return "worker-gone";
    case TraceEnd::server_removed:
      return "server-removed";
    case TraceEnd::stopped:
      break;
  }
  return "stopped";
}

std::string word(std::string_view text) {
  return text::printable(text, max_word_bytes);
}

/** The raw id where it is a short one, else a string that begins as it does. */
std::string id_text(std::string_view id) {
  return id.size() <= max_word_bytes ? std::string(id) : jsonrpc::quote(word(id));
}

/** The first bytes of the message; a character that would be cut is left out. */
std::string head_of(Parts message) {
  std::string head;
  for (const auto part : message) {
    head += part.substr(0, limits::trace_payload_bytes + 1 - head.size());
  }
  if (head.size() > limits::trace_payload_bytes) {
    auto end = limits::trace_payload_bytes;
    while (end > 0 && (static_cast<unsigned char>(head[end]) & 0xC0U) == 0x80U) {
      --end;
    }
    head.resize(end);
  }
  return head;
}

std::size_t size_of(Parts message) {
  std::size_t bytes = 0;
  for (const auto part : message) {
    bytes += part.size();
  }
  return bytes;
}

std::string last_line(TraceEnd end, std::string_view reason) {
  return fmt::format("{{\"time\":{},\"end\":\"{}\",\"reason\":{}}}\n", realtime_usec(), end_name(end),
                     jsonrpc::quote(reason));
}

}  // namespace

Traces::Traces(event::Loop& loop) : loop_(loop) {}

Traces::~Traces() = default;

Result<void> Traces::add(link::Trace request) {
  const auto own = std::count_if(tracers_.begin(), tracers_.end(),
                                 [&](const auto& tracer) { return tracer->owner() == request.owner; });
  if (tracers_.size() >= limits::traces_per_server || static_cast<std::size_t>(own) >= limits::traces_per_user) {
    return Error{Errc::limit, fmt::format("server {} is traced {} times already, {} of them by user {}: the limits are "
                                          "{} and {}",
                                          request.server, tracers_.size(), own, request.owner,
                                          limits::traces_per_server, limits::traces_per_user)};
  }
  tracers_.push_back(
      std::make_unique<Tracer>(loop_, std::move(request), [this](const Tracer& tracer) { drop(tracer); }));
  return {};
}

void Traces::drop(const Tracer& tracer) {
  std::erase_if(tracers_, [&](const auto& one) { return one.get() == &tracer; });
  if (tracers_.empty()) {
    asked_.clear();
  }
}

bool Traces::anybody_sees(const Access& access) const {
  return std::any_of(tracers_.begin(), tracers_.end(), [&](const auto& tracer) { return tracer->sees(access); });
}

void Traces::received(const Client& client, const Access& access, const jsonrpc::Envelope& message,
                      std::string_view line) {
  if (!anybody_sees(access)) {
    return;
  }
  Line shown{"client", message.kind, message.method(), message.id, {}, {}, {}};
  std::string tool;
  if (message.kind == jsonrpc::Kind::request) {
    if (shown.method == "tools/call") {
      tool = jsonrpc::unescape(message.name);
      shown.tool = tool;
    }
    asked_[client.id()].try_emplace(jsonrpc::id_key(message.id), Asked{word(shown.method), word(tool)});
  } else if (shown.method == "notifications/cancelled") {
    forget(client.id(), message.request_id);
  }
  const std::array parts{line};
  write(client, access, shown, parts);
}

void Traces::sent(const Client& client, const Access& access, Parts message, const TracedAnswer* answer) {
  if (!anybody_sees(access)) {
    return;
  }
  if (answer == nullptr) {
    std::string line;
    for (const auto part : message) {
      line += part;
    }
    const auto seen = jsonrpc::scan(line);
    return write(client, access, {"server", seen.kind, seen.method(), seen.id, {}, {}, {}}, message);
  }
  Asked asked;
  if (answer->time) {
    if (const auto found = asked_.find(client.id()); found != asked_.end()) {
      if (auto node = found->second.extract(jsonrpc::id_key(answer->id))) {
        asked = std::move(node.mapped());
      }
    }
  }
  write(client, access, {"server", answer->kind, asked.method, answer->id, asked.tool, answer->time, answer->outcome},
        message);
}

void Traces::forget(ClientId client) {
  asked_.erase(client);
}

void Traces::forget(ClientId client, std::string_view id) {
  if (const auto found = asked_.find(client); found != asked_.end()) {
    found->second.erase(jsonrpc::id_key(id));
  }
}

void Traces::write(const Client& client, const Access& access, const Line& line, Parts message) {
  std::string text;
  std::string payload;
  for (const auto& tracer : tracers_) {
    if (!tracer->sees(access)) {
      continue;
    }
    if (text.empty()) {
      text = fmt::format(R"({{"time":{},"from":"{}","session":"{}","worker":"{}","owner":{},"kind":"{}")",
                         realtime_usec(), line.from, client.session().substr(0, told_session_digits),
                         access.worker.value, access.owner, kind_name(line.kind));
      const auto member = [&text](std::string_view key, std::string_view value) {
        if (!value.empty()) {
          text += fmt::format(R"(,"{}":{})", key, jsonrpc::quote(word(value)));
        }
      };
      member("method", line.method);
      member("tool", line.tool);
      if (!line.id.empty()) {
        text += ",\"id\":" + id_text(line.id);
      }
      text += fmt::format(R"(,"bytes":{})", size_of(message));
      if (line.time) {
        text += fmt::format(R"(,"duration_usec":{})",
                            std::chrono::duration_cast<std::chrono::microseconds>(*line.time).count());
      }
      member("outcome", line.outcome);
    }
    if (!tracer->wants_payloads()) {
      tracer->add(text + "}\n");
      continue;
    }
    if (payload.empty()) {
      const auto head = head_of(message);
      payload = fmt::format(R"(,"payload":{}{})", jsonrpc::quote(head),
                            head.size() < size_of(message) ? R"(,"payload_cut":true)" : "");
    }
    tracer->add(text + payload + "}\n");
  }
}

void Traces::end_of_worker(const WorkerId& worker) {
  for (const auto& tracer : tracers_) {
    if (tracer->worker() == worker.value) {
      tracer->end(last_line(TraceEnd::worker_gone, fmt::format("worker {} is gone", worker.value)));
    }
  }
  std::erase_if(tracers_, [&](const auto& tracer) { return tracer->worker() == worker.value; });
  if (tracers_.empty()) {
    asked_.clear();
  }
}

void Traces::end_all(TraceEnd end, std::string_view reason) {
  for (const auto& tracer : tracers_) {
    tracer->end(last_line(end, reason));
  }
  tracers_.clear();
  asked_.clear();
}

}  // namespace hal::hub
