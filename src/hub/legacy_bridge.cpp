#include "hub/legacy_bridge.hpp"

#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Names of bridges as clients of the modern server: away from the hub's own and from a ModernBridge's. */
constexpr std::uint64_t first_bridge_id = std::uint64_t{3} << 62U;

constexpr std::string_view prefix = "io.modelcontextprotocol/";

}  // namespace

LegacyBridge::LegacyBridge(Server& server, Server& modern, event::Loop& loop, Client& client, ClientId id)
    : server_(server),
      modern_(modern),
      loop_(loop),
      client_(client),
      id_(id),
      outbox_flush_(loop, "words of legacy bridge " + client.session(), [this] { flush(); }),
      again_(loop, "streams of legacy bridge " + client.session(), [this] { listen_again(); }) {}

LegacyBridge::~LegacyBridge() {
  modern_.remove(*this);
  if (held_) {
    client_.hold(false);
  }
}

void LegacyBridge::hold(bool held) {
  held_ = held;
  client_.hold(held);
}

void LegacyBridge::say(std::string line) {
  outbox_.push_back(std::move(line));
  outbox_flush_.schedule();
}

void LegacyBridge::flush() {
  while (!outbox_.empty()) {
    const auto line = std::move(outbox_.front());
    outbox_.pop_front();
    modern_.from_client(*this, jsonrpc::scan(line), line);
  }
}

std::string LegacyBridge::with_hello(std::string_view params, std::optional<std::uint64_t> token) const {
  std::string meta = "{";
  const auto add = [&meta](std::string_view key, std::string_view raw) {
    meta += fmt::format("{}{}:{}", meta.size() > 1 ? "," : "", jsonrpc::quote(key), raw);
  };
  jsonrpc::each_member_of(jsonrpc::member(params, "_meta"), [&](std::string_view key, std::string_view raw) {
    if (key != "progressToken" && !key.starts_with(prefix)) {
      add(key, raw);
    }
  });
  add("io.modelcontextprotocol/protocolVersion", fmt::format("\"{}\"", modern_revision));
  add("io.modelcontextprotocol/clientCapabilities", hello_ ? std::string_view(hello_->capabilities) : "{}");
  if (hello_ && !hello_->client_info.empty()) {
    add("io.modelcontextprotocol/clientInfo", hello_->client_info);
  }
  if (log_level_) {
    add("io.modelcontextprotocol/logLevel", *log_level_);
  }
  if (token) {
    add("progressToken", fmt::format_int(*token).c_str());
  }
  return jsonrpc::with_member(jsonrpc::without_members(params, {"_meta"}), "_meta", meta + "}");
}

void LegacyBridge::from_client(const jsonrpc::Envelope& message, std::string_view) {
  if (message.kind == jsonrpc::Kind::request) {
    return request(message);
  }
  if (message.is_response()) {
    return on_client_answer(message);
  }
  if (message.method() == "notifications/initialized" && !ready_) {
    ready_ = true;
    return listen_to_lists();
  }
  if (message.method() == "notifications/cancelled") {
    cancel(message);
  }
}

void LegacyBridge::request(const jsonrpc::Envelope& message) {
  const auto method = message.method();
  if (method == "initialize") {
    return initialize(message);
  }
  if (method == "ping") {
    return server_.answer(client_, message.id, "{}");
  }
  if (!hello_ || !initialize_id_.empty()) {
    return server_.fail(client_, message.id, jsonrpc::invalid_request, "initialize first");
  }
  if (method == "logging/setLevel") {
    return set_level(message);
  }
  if (method == "resources/subscribe") {
    return subscribe(message);
  }
  if (method == "resources/unsubscribe") {
    return unsubscribe(message);
  }
  if (method.starts_with("tasks/")) {
    return server_.fail(client_, message.id, jsonrpc::method_not_found,
                        fmt::format("server {} has tasks of a later revision only", server_.name()));
  }
  if (calls_.size() >= limits::requests_in_flight) {
    return server_.fail(client_, message.id, jsonrpc::code_of(Errc::limit),
                        fmt::format("too many requests in flight at server {}", server_.name()));
  }
  const auto number = next_number_++;
  auto& call = calls_[number];
  call.id = message.id;
  call.token = message.meta_progress_token;
  call.method = method;
  if (may_require_input(method)) {
    call.params = message.params;
  }
  send_call(call, number, std::string(message.params));
}

void LegacyBridge::send_call(const Call& call, std::uint64_t number, const std::string& params) {
  say(jsonrpc::request(fmt::format_int(number).c_str(), call.method,
                       with_hello(params, call.token.empty() ? std::nullopt : std::optional(number))));
}

void LegacyBridge::initialize(const jsonrpc::Envelope& message) {
  if (hello_) {
    return server_.fail(client_, message.id, jsonrpc::invalid_request, "the session is initialized already");
  }
  auto hello = read_client_hello(message.params);
  if (!hello) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, hello.error().message);
  }
  hello_ = std::move(*hello);
  initialize_id_ = message.id;
  say(jsonrpc::request("0", "server/discover", with_hello("", std::nullopt)));
}

void LegacyBridge::set_level(const jsonrpc::Envelope& message) {
  if (const auto level = read_log_level(message.params); !level) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, level.error().message);
  }
  log_level_ = jsonrpc::member(message.params, "level");
  server_.answer(client_, message.id, "{}");
}

void LegacyBridge::cancel(const jsonrpc::Envelope& message) {
  const auto key = jsonrpc::id_key(message.request_id);
  const auto found = std::find_if(calls_.begin(), calls_.end(),
                                  [&](const auto& entry) { return jsonrpc::id_key(entry.second.id) == key; });
  if (found == calls_.end()) {
    return;
  }
  say(jsonrpc::notification("notifications/cancelled", fmt::format(R"({{"requestId":{}}})", found->first)));
  std::erase_if(questions_, [&](const auto& entry) { return entry.second.call == found->first; });
  calls_.erase(found);
}

// Streams.

void LegacyBridge::listen(std::string uri, std::string id) {
  const auto number = next_number_++;
  const auto what = uri.empty() ? std::string(R"({"toolsListChanged":true,"promptsListChanged":true,)"
                                              R"("resourcesListChanged":true})")
                                : fmt::format(R"({{"resourceSubscriptions":[{}]}})", jsonrpc::quote(uri));
  listens_.emplace(number, Listen{std::move(uri), std::move(id)});
  say(jsonrpc::request(fmt::format_int(number).c_str(), "subscriptions/listen",
                       with_hello(fmt::format(R"({{"notifications":{}}})", what), std::nullopt)));
}

void LegacyBridge::listen_to_lists() {
  if (capabilities_.find(R"("listChanged":true)") != std::string::npos) {
    listen("", "");
  }
}

void LegacyBridge::subscribe(const jsonrpc::Envelope& message) {
  auto uri = jsonrpc::unescape(message.uri);
  if (uri.empty()) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, "params.uri: must be a string");
  }
  const bool known = lost_.contains(uri) || std::any_of(listens_.begin(), listens_.end(),
                                                        [&](const auto& entry) { return entry.second.uri == uri; });
  if (known) {
    return server_.answer(client_, message.id, "{}");
  }
  if (listens_.size() + lost_.size() > limits::subscriptions_per_session) {
    return server_.fail(client_, message.id, jsonrpc::code_of(Errc::limit), "too many subscriptions");
  }
  listen(std::move(uri), std::string(message.id));
}

void LegacyBridge::unsubscribe(const jsonrpc::Envelope& message) {
  const auto uri = jsonrpc::unescape(message.uri);
  lost_.erase(uri);
  const auto found = std::find_if(listens_.begin(), listens_.end(),
                                  [&](const auto& entry) { return !uri.empty() && entry.second.uri == uri; });
  if (found != listens_.end()) {
    stop_listening(found->first);
  }
  server_.answer(client_, message.id, "{}");
}

void LegacyBridge::stop_listening(std::uint64_t number) {
  listens_.erase(number);
  say(jsonrpc::notification("notifications/cancelled", fmt::format(R"({{"requestId":{}}})", number)));
}

void LegacyBridge::listen_again() {
  for (const auto& uri : std::exchange(lost_, {})) {
    listen(uri, "");
  }
}

// Clients of one server.

void ModernOnly::from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  auto& bridge = bridges_[client.id()];
  if (bridge == nullptr) {
    bridge =
        std::make_unique<LegacyBridge>(server_, modern_, loop_, client, ClientId{first_bridge_id + client.id().value});
    (void)modern_.add(*bridge, nullptr);  // without an account there is no limit that could refuse it
  }
  bridge->from_client(message, line);
}

void ModernOnly::client_drained(Client& client) {
  if (const auto found = bridges_.find(client.id()); found != bridges_.end()) {
    modern_.client_drained(*found->second);
  }
}

void ModernOnly::end_all(const std::string& reason) {
  for (const auto& [id, bridge] : bridges_) {
    bridge->end(reason);
  }
}

}  // namespace hal::hub
