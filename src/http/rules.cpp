#include "http/rules.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace hal::http {

namespace {

constexpr std::array<std::string_view, 3> revisions = {"2025-03-26", "2025-06-18", "2025-11-25"};
constexpr std::array<std::string_view, 3> hosts = {"127.0.0.1", "localhost", "[::1]"};

/** The part up to `end`, which `text` loses with it. */
std::string_view take_until(std::string_view& text, char end) {
  const auto at = text.find(end);
  const auto part = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return text::trim(part);
}

/** "host" or "host:port"; nothing for what is neither. */
std::optional<std::pair<std::string_view, std::optional<std::uint16_t>>> split_host(std::string_view host) {
  const auto bracket = host.find(']');
  const auto colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon == std::string_view::npos) {
    return std::pair(host, std::optional<std::uint16_t>());
  }
  const auto port = text::to_number<std::uint16_t>(host.substr(colon + 1));
  if (!port) {
    return std::nullopt;
  }
  return std::pair(host.substr(0, colon), port);
}

bool is_loopback_name(std::string_view name) {
  return std::any_of(hosts.begin(), hosts.end(), [&](auto host) { return text::equal_in_any_case(host, name); });
}

/** q=0 says: not this one. */
bool is_refused(std::string_view parameters) {
  while (!parameters.empty()) {
    const auto parameter = take_until(parameters, ';');
    if (parameter.size() >= 3 && (parameter[0] == 'q' || parameter[0] == 'Q') && parameter[1] == '=') {
      return parameter.find_first_not_of("0.", 2) == std::string_view::npos;
    }
  }
  return false;
}

/** The name in "ROOT/NAME", empty for ROOT itself; unset for any other path. */
std::optional<std::string> name_under(std::string_view root, std::string_view path) {
  if (path.substr(0, root.size()) != root) {
    return std::nullopt;
  }
  path.remove_prefix(root.size());
  if (path.empty() || path == "/") {
    return "";
  }
  if (path.front() != '/' || !text::is_name(path.substr(1))) {
    return std::nullopt;
  }
  return std::string(path.substr(1));
}

}  // namespace

void Head::take(std::string_view name, std::string_view value) {
  const std::pair<std::string_view, std::optional<std::string_view>*> single[] = {
      {"Host", &host},
      {"Origin", &origin},
      {"Authorization", &authorization},
      {"Content-Type", &content_type},
      {"Content-Encoding", &content_encoding},
      {"Content-Length", &content_length},
      {"Mcp-Session-Id", &session_id},
      {"MCP-Protocol-Version", &protocol_version},
      {"Last-Event-ID", &last_event_id},
      {"Mcp-Method", &mcp_method},
      {"Mcp-Name", &mcp_name},
  };
  for (const auto& [known, place] : single) {
    if (text::equal_in_any_case(name, known)) {
      doubled = doubled || place->has_value();
      *place = text::trim(value);
      return;
    }
  }
  constexpr std::string_view param = "Mcp-Param-";
  if (text::equal_in_any_case(name.substr(0, param.size()), param)) {
    name.remove_prefix(param.size());
    doubled = doubled || std::any_of(mcp_params.begin(), mcp_params.end(),
                                     [name](const auto& other) { return text::equal_in_any_case(other.first, name); });
    mcp_params.emplace_back(name, text::trim(value));
    return;
  }
  if (text::equal_in_any_case(name, "Accept")) {
    accept += has_accept ? "," : "";
    accept += value;
    has_accept = true;
  }
}

bool is_our_host(std::string_view host, std::uint16_t port) {
  const auto parts = split_host(host);
  return parts && is_loopback_name(parts->first) && (!parts->second || *parts->second == port);
}

bool is_our_origin(std::string_view origin) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (origin.substr(0, scheme.size()) == scheme) {
      const auto parts = split_host(origin.substr(scheme.size()));
      return parts && is_loopback_name(parts->first);
    }
  }
  return false;
}

Accepted accepted(const Head& head) {
  if (!head.has_accept) {
    return {true, true, false};
  }
  Accepted result;
  std::string_view rest = head.accept;
  while (!rest.empty()) {
    auto range = take_until(rest, ',');
    const auto type = take_until(range, ';');
    if (is_refused(range)) {
      continue;
    }
    const bool all = type == "*/*";
    const bool was_events_only = result.events && !result.json;
    result.json = result.json || all || text::equal_in_any_case(type, "application/json") || type == "application/*";
    result.events = result.events || all || text::equal_in_any_case(type, "text/event-stream") || type == "text/*";
    result.events_first = result.events_first || (was_events_only && result.json);
  }
  return result;
}

bool is_json(std::string_view content_type) {
  if (!text::equal_in_any_case(take_until(content_type, ';'), "application/json")) {
    return false;
  }
  while (!content_type.empty()) {
    auto parameter = take_until(content_type, ';');
    const auto name = take_until(parameter, '=');
    const bool is_utf8 = text::equal_in_any_case(parameter, "utf-8") || text::equal_in_any_case(parameter, "\"utf-8\"");
    if (text::equal_in_any_case(name, "charset") && !is_utf8) {
      return false;
    }
  }
  return true;
}

bool is_known_revision(std::string_view revision) {
  return std::find(revisions.begin(), revisions.end(), revision) != revisions.end();
}

std::string_view bearer_token(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() <= scheme.size() ||
      !text::equal_in_any_case(authorization.substr(0, scheme.size()), scheme)) {
    return {};
  }
  return text::trim(authorization.substr(scheme.size()));
}

bool equal_secrets(std::string_view one, std::string_view other) {
  if (one.size() != other.size()) {
    return false;
  }
  volatile unsigned char difference = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (one[i] ^ other[i]));
  }
  return difference == 0;
}

std::optional<EventId> read_event_id(std::string_view text) {
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto stream = text::to_number<std::uint64_t>(text.substr(0, dash));
  const auto event = text::to_number<std::uint64_t>(text.substr(dash + 1));
  return stream && event ? std::optional(EventId{*stream, *event}) : std::nullopt;
}

std::string event_id(const EventId& id) {
  return fmt::format("{}-{}", id.stream, id.event);
}

std::optional<std::string> read_path(std::string_view path) {
  return name_under("/mcp", path);
}

std::optional<std::string> read_sse_path(std::string_view path) {
  return name_under("/sse", path);
}

std::optional<std::string> read_message_path(std::string_view path) {
  auto session = name_under("/message", path);
  return session && !session->empty() ? session : std::nullopt;
}

bool is_known_sse_revision(std::string_view revision) {
  return revision == "2024-11-05" || is_known_revision(revision);
}

}  // namespace hal::http
