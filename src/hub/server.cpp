#include "hub/server.hpp"

#include "hub/session_server.hpp"
#include "hub/shared_server.hpp"
#include "jsonrpc/message.hpp"

#include <array>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

void respond(Client& client, std::string_view id, std::string_view message) {
  const std::array parts{message};
  client.respond(id, parts);
}

}  // namespace

Server::Server(ServerContext& context, link::ServerSet config) : context_(context), config_(std::move(config)) {}

link::ServerReport Server::report() {
  changed_ = false;
  return {config_.name, sessions_, requests_, errors_, protocol_version_, server_info_, last_activity_usec_};
}

Result<void> Server::add(Client& client) {
  if (config_.max_sessions != 0 && sessions_ >= config_.max_sessions) {
    return Error{Errc::limit, fmt::format("server {} has {} sessions, its limit", name(), sessions_)};
  }
  if (auto added = do_add(client); !added) {
    return added;
  }
  ++sessions_;
  touch();
  return {};
}

void Server::remove(Client& client) {
  --sessions_;
  touch();
  do_remove(client);
}

void Server::from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  if (message.kind == jsonrpc::Kind::request) {
    ++requests_;
  }
  touch();
  do_from_client(client, message, line);
}

void Server::fail(Client& client, std::string_view id, int code, const std::string& message) {
  count_error();
  respond(client, id, jsonrpc::error_response(id, code, message));
}

void Server::answer(Client& client, std::string_view id, std::string_view result) {
  respond(client, id, jsonrpc::result_response(id, result));
}

void Server::count_error() {
  ++errors_;
  changed();
}

void Server::set_identity(std::string protocol_version, std::string server_info) {
  protocol_version_ = std::move(protocol_version);
  server_info_ = std::move(server_info);
  changed();
}

void Server::touch() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  last_activity_usec_ = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
  changed();
}

void Server::changed() {
  if (!std::exchange(changed_, true)) {
    context_.on_changed(name());
  }
}

std::unique_ptr<Server> make_server(ServerContext& context, link::ServerSet config) {
  if (config.mode == link::ServerMode::session) {
    return std::make_unique<SessionServer>(context, std::move(config));
  }
  return std::make_unique<SharedServer>(context, std::move(config));
}

}  // namespace hal::hub
