#include "hub/routes.hpp"

#include <cstddef>

namespace hal::hub {

namespace {

template <class Route>
struct Row {
  std::string_view method;
  Route route;
};

constexpr Row<UpRoute> up_requests[] = {
    // A second initialize ends some servers; the result is the same for all clients.
    {"initialize", UpRoute::answer_initialize},
    // Tells whether we live; the server is not asked.
    {"ping", UpRoute::answer_ping},
    // Counted a URI: the last one to go unsubscribes, nobody before.
    {"resources/subscribe", UpRoute::merge_subscribe},
    {"resources/unsubscribe", UpRoute::merge_unsubscribe},
    // The server is told the most talkative level of all; each client gets what it asked for.
    {"logging/setLevel", UpRoute::merge_log_level},
    // A task's id says nothing about its owner, and the server knows but one client: us.
    {"tasks/get", UpRoute::forward_own_task},
    {"tasks/result", UpRoute::forward_own_task},
    {"tasks/cancel", UpRoute::forward_own_task},
    {"tasks/list", UpRoute::forward_task_list},
    // Everything else, known to us or not, is the server's to answer.
};
constexpr auto any_up_request = UpRoute::forward_request;

constexpr Row<UpRoute> up_notifications[] = {
    // The first one completes the handshake; the server must not hear it again.
    {"notifications/initialized", UpRoute::first_initialized},
    // Names a request by the client's id, which the server has never seen.
    {"notifications/cancelled", UpRoute::map_cancelled},
    {"notifications/progress", UpRoute::forward_if_asked},
};
constexpr auto any_up_notification = UpRoute::forward_notification;

constexpr Row<DownRoute> down_requests[] = {
    // Servers that get no answer exit.
    {"ping", DownRoute::answer_ping},
    {"roots/list", DownRoute::ask_client},
    {"sampling/createMessage", DownRoute::ask_client},
    {"elicitation/create", DownRoute::ask_client},
};
// What we do not know the client may; it refuses what it does not know either.
constexpr auto any_down_request = DownRoute::ask_client;

constexpr Row<DownRoute> down_notifications[] = {
    {"notifications/progress", DownRoute::map_progress},
    {"notifications/cancelled", DownRoute::map_cancelled},
    // Who did not subscribe must not learn what others read.
    {"notifications/resources/updated", DownRoute::to_subscribers},
    {"notifications/message", DownRoute::log_message},
    {"notifications/tools/list_changed", DownRoute::broadcast},
    {"notifications/resources/list_changed", DownRoute::broadcast},
    {"notifications/prompts/list_changed", DownRoute::broadcast},
    {"notifications/elicitation/complete", DownRoute::to_asked},
    {"notifications/tasks/status", DownRoute::to_task_owner},
};
// Without an owner on the wire it may be anybody's secret.
constexpr auto any_down_notification = DownRoute::to_only_candidate;

template <class Route, std::size_t count>
Route find(const Row<Route> (&rows)[count], std::string_view method, Route otherwise) {
  for (const auto& row : rows) {
    if (row.method == method) {
      return row.route;
    }
  }
  return otherwise;
}

}  // namespace

UpRoute up_request_route(std::string_view method) {
  return find(up_requests, method, any_up_request);
}

UpRoute up_notification_route(std::string_view method) {
  return find(up_notifications, method, any_up_notification);
}

DownRoute down_request_route(std::string_view method) {
  return find(down_requests, method, any_down_request);
}

DownRoute down_notification_route(std::string_view method) {
  return find(down_notifications, method, any_down_notification);
}

}  // namespace hal::hub
