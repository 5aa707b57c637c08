// Streams of notifications (subscriptions/listen), made of what a legacy server tells all its clients.
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "hub/modern_bridge.hpp"
#include "hub/modern_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"

#include <array>

#include <fmt/format.h>

namespace hal::hub {

namespace {

std::string uri_params(const std::string& uri) {
  return fmt::format(R"({{"uri":{}}})", jsonrpc::quote(uri));
}

/** Whether `uri` is the one subscribed to, or below it. */
bool is_of(std::string_view uri, std::string_view subscribed) {
  return uri.starts_with(subscribed) &&
         (uri.size() == subscribed.size() || subscribed.ends_with('/') || uri[subscribed.size()] == '/');
}

}  // namespace

void ModernBridge::listen(const jsonrpc::Envelope& message) {
  const auto filter = jsonrpc::member(message.params, "notifications");
  if (!filter.starts_with('{')) {
    return fail(message.id, jsonrpc::invalid_params, "params.notifications: must be an object");
  }
  if (listens_.size() >= limits::listens_per_client) {
    return fail(message.id, jsonrpc::internal_error, "too many streams of notifications");
  }
  Listen listen;
  listen.id = message.id;
  listen.tools = server_hello_->tools_list_changed && jsonrpc::member(filter, "toolsListChanged") == "true";
  listen.prompts = server_hello_->prompts_list_changed && jsonrpc::member(filter, "promptsListChanged") == "true";
  listen.resources = server_hello_->resources_list_changed && jsonrpc::member(filter, "resourcesListChanged") == "true";
  std::set<std::string> wanted;
  const auto uris = jsonrpc::member(filter, "resourceSubscriptions");
  (void)jsonrpc::any_element(uris, [&](std::string_view raw) {
    if (auto uri = jsonrpc::unescape(raw); subscribes_ && !uri.empty()) {
      wanted.insert(std::move(uri));
    }
    return wanted.size() > limits::subscriptions_per_session;
  });
  if (subscribed_.size() + wanted.size() > limits::subscriptions_per_session) {
    return fail(message.id, jsonrpc::internal_error, "too many subscriptions");
  }
  const auto key = jsonrpc::id_key(message.id);
  auto& kept = listens_[key] = std::move(listen);
  for (const auto& uri : wanted) {
    if (subscribed_[uri]++ > 0) {
      kept.uris.insert(uri);
      continue;
    }
    ++kept.pending;
    (void)ask_upkeep("resources/subscribe", uri_params(uri), {uri, key});
  }
  if (kept.pending == 0) {
    begin(kept);
  }
}

void ModernBridge::on_subscribed(const Upkeep& upkeep, bool success) {
  const auto found = listens_.find(upkeep.listen);
  auto* listen = found != listens_.end() && found->second.pending > 0 ? &found->second : nullptr;
  if (success && listen != nullptr) {
    listen->uris.insert(upkeep.uri);
  } else if (success) {
    unsubscribe(upkeep.uri);  // its client did not wait
  } else if (auto count = subscribed_.find(upkeep.uri); count != subscribed_.end() && --count->second == 0) {
    subscribed_.erase(count);
  }
  if (listen != nullptr && --listen->pending == 0) {
    begin(*listen);
  }
}

/** The first message of the stream tells what it will have. */
void ModernBridge::begin(Listen& listen) {
  listen.begun = true;
  std::string honoured;
  const auto add = [&](std::string_view name, std::string_view value) {
    honoured += fmt::format(R"({}"{}":{})", honoured.empty() ? "" : ",", name, value);
  };
  if (listen.tools) {
    add("toolsListChanged", "true");
  }
  if (listen.prompts) {
    add("promptsListChanged", "true");
  }
  if (listen.resources) {
    add("resourcesListChanged", "true");
  }
  if (!listen.uris.empty()) {
    std::string uris;
    for (const auto& uri : listen.uris) {
      uris += (uris.empty() ? "" : ",") + jsonrpc::quote(uri);
    }
    add("resourceSubscriptions", "[" + uris + "]");
  }
  const auto line = jsonrpc::notification(
      "notifications/subscriptions/acknowledged",
      with_meta(fmt::format(R"({{"notifications":{{{}}}}})", honoured), subscription_id_key, listen.id));
  const std::array parts{std::string_view(line)};
  server_.ask(client_, parts);
}

void ModernBridge::forget_listen(const std::string& key) {
  const auto node = listens_.extract(key);
  for (const auto& uri : node.mapped().uris) {
    unsubscribe(uri);
  }
}

/** For one stream less. */
void ModernBridge::unsubscribe(const std::string& uri) {
  const auto count = subscribed_.find(uri);
  if (count == subscribed_.end() || --count->second > 0) {
    return;
  }
  subscribed_.erase(count);
  (void)ask_upkeep("resources/unsubscribe", uri_params(uri), {});
}

void ModernBridge::on_list_changed(const jsonrpc::Envelope& message) {
  const auto method = message.method();
  for (const auto& [key, listen] : listens_) {
    if ((listen.tools && method == "notifications/tools/list_changed") ||
        (listen.prompts && method == "notifications/prompts/list_changed") ||
        (listen.resources && method == "notifications/resources/list_changed")) {
      tell(listen, message);
    }
  }
}

void ModernBridge::on_resource_updated(const jsonrpc::Envelope& message) {
  const auto uri = jsonrpc::unescape(message.uri);
  for (const auto& [key, listen] : listens_) {
    for (const auto& subscribed : listen.uris) {
      if (is_of(uri, subscribed)) {
        tell(listen, message);
        break;
      }
    }
  }
}

void ModernBridge::tell(const Listen& listen, const jsonrpc::Envelope& message) {
  if (!listen.begun) {
    return;
  }
  const auto line = jsonrpc::notification(message.method(), with_meta(message.params, subscription_id_key, listen.id));
  const std::array parts{std::string_view(line)};
  server_.notify(client_, parts);
}

}  // namespace hal::hub
