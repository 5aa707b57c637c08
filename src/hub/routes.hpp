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
  /** The same, for a task of the client's own; of another's, there is no such task. */
  forward_own_task,
  /** The same, with the tasks of others taken out of the answer. */
  forward_task_list,

  first_initialized,
  map_cancelled,
  /** Progress on a question of the server's. */
  forward_if_asked,
  forward_notification,
};

/** From the server to a client. */
enum class DownRoute {
  answer_ping,
  /** Goes to the one client it can belong to, or is refused. */
  ask_client,

  map_progress,
  map_cancelled,
  /** To subscribers of the URI only. */
  to_subscribers,
  /** To the one client it can belong to. */
  log_message,
  broadcast,
  /** To the client that was asked for this elicitation. */
  to_asked,
  to_task_owner,
  /** To the one client it can belong to, or to nobody. */
  to_only_candidate,
};

[[nodiscard]] UpRoute up_request_route(std::string_view method);
[[nodiscard]] UpRoute up_notification_route(std::string_view method);
[[nodiscard]] DownRoute down_request_route(std::string_view method);
[[nodiscard]] DownRoute down_notification_route(std::string_view method);

}  // namespace hal::hub
