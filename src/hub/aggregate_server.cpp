#include "hub/aggregate_server.hpp"

#include "base/names.hpp"
#include "hub/handshake.hpp"
#include "hub/hub_limits.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Calls are told of where they are answered: at the servers. */
link::ServerSet configuration() {
  link::ServerSet config;
  config.name = names::all_servers;
  config.audit = link::Audit::off;
  return config;
}

/** At most so many bytes of it, and no part of a character. */
std::string_view cut(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) {
    return text;
  }
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) {
    --bytes;
  }
  return text.substr(0, bytes);
}

}  // namespace

AggregateServer::AggregateServer(ServerContext& context, Directory& directory)
    : Server(context, configuration()), directory_(directory) {}

AggregateServer::~AggregateServer() = default;

Result<void> AggregateServer::do_add(Client& client) {
  const auto& worker = access_of(client)->worker;
  auto session = std::make_unique<AggregateSession>(*this, context().loop, client, worker);
  session->set_servers(directory_.servers_of(worker));
  sessions_.emplace(client.id(), std::move(session));
  return {};
}

void AggregateServer::do_remove(Client& client) {
  sessions_.erase(client.id());
}

void AggregateServer::do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  sessions_.at(client.id())->from_client(message, line);
}

bool AggregateServer::takes_batches(const Client& client) const {
  const auto found = sessions_.find(client.id());
  return found != sessions_.end() && found->second->revision() == batch_revision;
}

void AggregateServer::client_drained(Client& client) {
  sessions_.at(client.id())->client_drained();
}

void AggregateServer::update() {
  for (const auto& [id, session] : sessions_) {
    session->set_servers(directory_.servers_of(session->worker()));
  }
}

void AggregateServer::detach(const Server& server, const std::string& reason) {
  instructions_.erase(server.name());
  for (const auto& [id, session] : sessions_) {
    session->detach(server, reason);
  }
}

void AggregateServer::shut_down(const std::string& reason) {
  for (const auto& [id, session] : sessions_) {
    session->shut_down(reason);
  }
}

void AggregateServer::learn(const std::string& server, const std::string& instructions) {
  instructions_[server] = cut(instructions, limits::instructions_bytes);
}

std::string AggregateServer::instructions(const std::vector<std::string>& servers) const {
  std::string all;
  for (const auto& name : servers) {
    if (const auto found = instructions_.find(name); found != instructions_.end() && !found->second.empty()) {
      all += fmt::format("{}{} (tools {}__*): {}", all.empty() ? "" : "\n\n", name, name, found->second);
    }
  }
  return std::string(cut(all, limits::all_instructions_bytes));
}

}  // namespace hal::hub
