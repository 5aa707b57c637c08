#pragma once

#include <string_view>

/**
 * The routing table of shared mode: what is done with each message between many clients and one server. The rules'
 * reasons stand beside the rows in routes.cpp.
 */
namespace hal::hub {

/** From a client to the server. */
enum class UpRoute {
  /** The handshake is held once with the server; each client is answered from its result. */
  answer_initialize,
  answer_ping,
  /** Wishes of all clients merged into one state at the server. */
  merge_subscribe,
  merge_unsubscribe,
  merge_log_level,
  /** With a fresh id and progress token. */
  forward_request,
  /** Refused: the server cannot tell whose tasks these are. */
  refuse_request,

  first_initialized,
  map_cancelled,
  /** Progress on a question of the server's. */
  forward_if_asked,
  forward_notification,
  drop_notification,
};

/** From the server to a client. */
enum class DownRoute {
  answer_ping,
  /** Goes to the one client it can belong to, or is refused. */
  ask_client,
  refuse_request,

  map_progress,
  map_cancelled,
  /** To subscribers of the URI only. */
  to_subscribers,
  /** To the one client it can belong to. */
  log_message,
  broadcast,
  /** To the client that was asked for this elicitation. */
  to_asked,
  drop_notification,
};

[[nodiscard]] UpRoute up_request_route(std::string_view method);
[[nodiscard]] UpRoute up_notification_route(std::string_view method);
[[nodiscard]] DownRoute down_request_route(std::string_view method);
[[nodiscard]] DownRoute down_notification_route(std::string_view method);

}  // namespace hal::hub
