#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/** What MCP over HTTP demands of a request's headers. Pure: text in, decision out. */
namespace hal::http {

/** The headers that matter here. Views into the request; absent ones are unset. */
struct Head {
  std::optional<std::string_view> host;
  std::optional<std::string_view> origin;
  std::optional<std::string_view> authorization;
  std::optional<std::string_view> content_type;
  std::optional<std::string_view> content_encoding;
  std::optional<std::string_view> content_length;
  std::optional<std::string_view> session_id;
  std::optional<std::string_view> protocol_version;
  std::optional<std::string_view> last_event_id;
  // Of revision 2026-07-28: what they mirror stands in the body too.
  std::optional<std::string_view> mcp_method;
  std::optional<std::string_view> mcp_name;
  /** Mcp-Param-NAME: NAME as it comes, and the value. */
  std::vector<std::pair<std::string_view, std::string_view>> mcp_params;
  /** The only one that may stand more than once. */
  std::string accept;
  bool has_accept = false;
  /** One that must not stands twice: two readers might not agree on which one counts. */
  bool doubled = false;

  /** A header as it comes; names in any case. */
  void take(std::string_view name, std::string_view value);
};

/** Whether the client spoke to a name of this machine's loopback: a web page that was rebound to it did not. */
[[nodiscard]] bool is_our_host(std::string_view host, std::uint16_t port);
/** Whether a page from the loopback itself sent the request. */
[[nodiscard]] bool is_our_origin(std::string_view origin);

/** What the client takes as an answer. */
struct Accepted {
  bool json = false;
  bool events = false;
  /** Both, but event streams are named first. */
  bool events_first = false;
};
/** Without the header: anything. */
[[nodiscard]] Accepted accepted(const Head& head);
/** Content-Type: application/json, with any parameters but another charset than UTF-8. */
[[nodiscard]] bool is_json(std::string_view content_type);

/** A revision of the protocol that has this transport with its sessions. */
[[nodiscard]] bool is_known_revision(std::string_view revision);

/** The token after "Bearer ", or empty. */
[[nodiscard]] std::string_view bearer_token(std::string_view authorization);

/** Compares in a time that depends on the lengths only. */
[[nodiscard]] bool equal_secrets(std::string_view one, std::string_view other);

/** Where an event stands: "STREAM-NUMBER". */
struct EventId {
  std::uint64_t stream = 0;
  std::uint64_t event = 0;
};
[[nodiscard]] std::optional<EventId> read_event_id(std::string_view text);
[[nodiscard]] std::string event_id(const EventId& id);

/** The server's name in "/mcp/NAME", empty for "/mcp", unset for any other path. */
[[nodiscard]] std::optional<std::string> read_path(std::string_view path);
// Of the transport of revision 2024-11-05:
/** The same in "/sse/NAME" and "/sse". */
[[nodiscard]] std::optional<std::string> read_sse_path(std::string_view path);
/** The session in "/message/ID". */
[[nodiscard]] std::optional<std::string> read_message_path(std::string_view path);
[[nodiscard]] bool is_known_sse_revision(std::string_view revision);

}  // namespace hal::http
