#include "hub/modern_server.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "hub/modern_bridge.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Names of bridges as clients: the hub's own numbers never get so far. */
constexpr std::uint64_t first_bridge_id = std::uint64_t{1} << 63U;

}  // namespace

ModernServer::ModernServer(ServerContext& context, Server& legacy)
    : Server(context, legacy.config()), legacy_(legacy) {}

ModernServer::~ModernServer() = default;  // bridges leave the legacy server

void ModernServer::set_config(link::ServerSet config) {
  if (config.configuration != this->config().configuration) {
    legacy_only_ = false;  // it may be another program
  }
  Server::set_config(std::move(config));
  for (const auto& [name, lane] : lanes_) {
    lane->watch_idleness();
  }
}

// Clients.

Client* ModernServer::client(ClientId id) {
  const auto found = seats_.find(id);
  return found != seats_.end() ? found->second.client : nullptr;
}

Result<void> ModernServer::do_add(Client& client) {
  seats_.emplace(client.id(), Seat{&client, {}});
  const bool braked = config().mode == link::ServerMode::shared &&
                      std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane.second->braked(); });
  if (braked) {
    client.hold(true);
  }
  return {};
}

void ModernServer::do_remove(Client& client) {
  seats_.erase(client.id());
  auto& lane = lane_of(client);
  lane.remove(client.id());
  if (config().mode == link::ServerMode::session) {
    lanes_.erase(std::string(lane.session()));
  }
}

void ModernServer::client_drained(Client& client) {
  for (const auto& bridge : seats_.at(client.id()).bridges) {
    legacy_.client_drained(*bridge);
  }
  if (config().mode == link::ServerMode::session) {
    lane_of(client).client_drained();
  }
}

void ModernServer::do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  if (message.is_response()) {
    log::debug({{names::field_server, name()}, {names::field_session, client.session()}},
               "a response to nothing asked");
    return;
  }
  if (is_legacy() && legacy_.is_modern_only()) {
    if (message.kind == jsonrpc::Kind::request) {
      fail(client, message.id, jsonrpc::internal_error,
           fmt::format("server {} refuses both initialize and server/discover", name()));
    }
    return;
  }
  if (is_legacy()) {
    return translate(seats_.at(client.id()), message, line);
  }
  lane_of(client).from_client(client, message, line);
}

std::string ModernServer::refusal_result(const std::string& text) const {
  return to_modern_result("tools/call", Server::refusal_result(text), {});
}

void ModernServer::again(ClientId id, const std::string& line) {
  if (auto* waiting = client(id); waiting != nullptr) {
    do_from_client(*waiting, jsonrpc::scan(line), line);
  }
}

void ModernServer::hold_clients(const ModernLane& lane, bool held) {
  for (const auto& [id, seat] : seats_) {
    if (config().mode == link::ServerMode::shared || &lane_of(*seat.client) == &lane) {
      seat.client->hold(held);
    }
  }
}

// What the program speaks.

bool ModernServer::is_legacy() {
  if (!legacy_.has_program()) {
    return true;
  }
  if (legacy_only_ && ask_again_at_ && *ask_again_at_ <= context().loop.now()) {
    legacy_only_ = false;
  }
  return legacy_only_;
}

void ModernServer::on_modern(std::string server_info) {
  legacy_only_ = false;
  set_identity(std::string(modern_revision), std::move(server_info));
}

void ModernServer::on_legacy(bool for_good) {
  legacy_only_ = true;
  ask_again_at_ = for_good ? std::nullopt : std::optional(context().loop.now() + limits::discover_again);
}

// Processes.

bool ModernServer::is_ours(const std::optional<link::SessionId>& session) {
  return session && session->value.starts_with(modern_revision);
}

ModernLane& ModernServer::lane_of(const Client& client) {
  const bool single = config().mode == link::ServerMode::session;
  auto name = single ? fmt::format("{}-{}", modern_revision, client.session()) : std::string(modern_revision);
  auto& lane = lanes_[name];
  if (lane == nullptr) {
    lane = std::make_unique<ModernLane>(*this, context(), std::move(name), single);
  }
  return *lane;
}

ModernLane* ModernServer::lane_of(const std::optional<link::SessionId>& session) {
  const auto found = session ? lanes_.find(session->value) : lanes_.end();
  return found != lanes_.end() ? found->second.get() : nullptr;
}

void ModernServer::attach(link::InstanceAttach instance) {
  if (auto* lane = lane_of(instance.session); lane != nullptr) {
    return lane->slot().attach(std::move(instance));
  }
  // Who asked for it left while it was being started.
  context().to_daemon(link::InstanceRelease{name(), instance.instance});
}

void ModernServer::gone(const link::InstanceGone& news) {
  for (const auto& [name, lane] : lanes_) {
    lane->slot().gone(news);
  }
}

void ModernServer::unavailable(const link::ServerUnavailable& news) {
  if (auto* lane = lane_of(news.session); lane != nullptr) {
    lane->slot().unavailable(news);
  }
}

void ModernServer::daemon_returned() {
  for (const auto& [name, lane] : lanes_) {
    lane->slot().daemon_returned();
  }
}

std::vector<InstanceId> ModernServer::instances() const {
  std::vector<InstanceId> all;
  for (const auto& one : held()) {
    all.push_back(one.instance);
  }
  return all;
}

std::vector<link::HeldInstance> ModernServer::held() const {
  std::vector<link::HeldInstance> all;
  for (const auto& [session, lane] : lanes_) {
    if (const auto instance = lane->slot().instance()) {
      all.push_back({name(), *instance, link::SessionId{session}});
    }
  }
  return all;
}

void ModernServer::shut_down(const std::string& reason) {
  for (const auto& [name, lane] : lanes_) {
    lane->shut_down(reason);
  }
  for (auto& [id, seat] : seats_) {
    for (const auto& bridge : seat.bridges) {
      bridge->end(reason);
    }
    seat.client->end(reason);
  }
}

// By way of the legacy server.

void ModernServer::translate(Seat& seat, const jsonrpc::Envelope& message, std::string_view line) {
  if (message.kind == jsonrpc::Kind::notification) {
    if (message.method() == "notifications/cancelled") {
      for (const auto& bridge : seat.bridges) {
        bridge->cancel(message.request_id);
      }
    }
    return;  // this revision has no others of clients
  }
  if (const auto refusal = modern_refusal(message)) {
    return pass_answer(*seat.client, message.id, jsonrpc::scan(*refusal), *refusal);
  }
  if (const auto state = jsonrpc::member(message.params, "requestState"); !state.empty()) {
    const auto waiting = std::find_if(seat.bridges.begin(), seat.bridges.end(),
                                      [&](const auto& bridge) { return bridge->waits_for(jsonrpc::unescape(state)); });
    if (waiting == seat.bridges.end()) {
      return fail(*seat.client, message.id, jsonrpc::invalid_params,
                  "params.requestState: is unknown, of another request, used before, or too old");
    }
    return (*waiting)->resume(message);
  }
  if (is_removed_method(message.method())) {
    return fail(*seat.client, message.id, jsonrpc::method_not_found,
                fmt::format("protocol version {} has no such method", modern_revision));
  }
  if (auto* bridge = bridge_of(seat, message); bridge != nullptr) {
    bridge->request(message, line);
  }
}

ModernBridge* ModernServer::bridge_of(Seat& seat, const jsonrpc::Envelope& request) {
  auto& bridges = seat.bridges;
  const auto found = std::find_if(bridges.begin(), bridges.end(), [&](const auto& bridge) {
    return !bridge->over() && bridge->capabilities() == request.meta_client_capabilities;
  });
  if (found != bridges.end()) {
    return found->get();
  }
  if (bridges.size() >= limits::capability_sets) {
    const auto idle = std::find_if(bridges.begin(), bridges.end(), [](const auto& bridge) { return bridge->idle(); });
    if (idle == bridges.end()) {
      fail(*seat.client, request.id, jsonrpc::internal_error, "too many sets of capabilities at once");
      return nullptr;
    }
    bridges.erase(idle);
  }
  const auto number = next_bridge_++;
  bridges.push_back(std::make_unique<ModernBridge>(
      *this, legacy_, context(), *seat.client, ClientId{first_bridge_id + number},
      fmt::format("{}-{}", seat.client->session(), number), std::string(request.meta_client_capabilities)));
  auto& bridge = *bridges.back();
  // One without a program is several servers, and asks whose client it is.
  auto access = legacy_.has_program() ? nullptr : access_of(*seat.client);
  if (const auto joined = legacy_.add(bridge, std::move(access)); !joined) {
    bridges.pop_back();
    fail(*seat.client, request.id, jsonrpc::internal_error, joined.error().message);
    return nullptr;
  }
  bridge.open(request);
  return &bridge;
}

void ModernServer::on_bridge_over(ModernBridge& bridge) {
  for (auto& [id, seat] : seats_) {
    std::erase_if(seat.bridges, [&](const auto& one) { return one.get() == &bridge; });
  }
}

}  // namespace hal::hub
