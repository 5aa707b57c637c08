// How servers, and the sessions at them, go over to another gateway.
#include "hub/server.hpp"
#include "hub/session_lane.hpp"
#include "hub/session_server.hpp"
#include "hub/shared_server.hpp"

#include <memory>
#include <utility>

namespace hal::hub {

void Server::save(Saver& archive) {
  archive(traffic_, last_activity_usec_, protocol_version_, server_info_);
  archive.number(accounts_.size());
  for (auto& [id, account] : accounts_) {
    archive.number(id.value);
    archive(account);
    save_client(archive, account.client());
  }
  save_rest(archive);
}

void Server::load(Loader& archive, const FindClient& find) {
  archive(traffic_, last_activity_usec_, protocol_version_, server_info_);
  for (auto count = archive.count(); count > 0 && !archive.failed(); --count) {
    auto [client, access] = find({archive.number()});
    if (client == nullptr || access == nullptr || accounts_.contains(client->id())) {
      return archive.fail();
    }
    archive(accounts_.try_emplace(client->id(), name(), *client, std::move(access)).first->second);
    load_client(archive, *client);
  }
  load_rest(archive);
}

void SharedServer::save_client(Saver& archive, const Client& client) {
  archive(seats_.at(client.id()));
}

void SharedServer::load_client(Loader& archive, Client& client) {
  auto& seat = seats_.emplace(client.id(), Seat{&client, {}, {}, false, false, {}, {}}).first->second;
  archive(seat);
}

void SharedServer::save_rest(Saver& archive) {
  slot_.save(archive);
  keep(archive);
}

void SharedServer::load_rest(Loader& archive) {
  slot_.load(archive);
  keep(archive);
  for (const auto& held : held_) {
    held_bytes_ += held.line.size();
  }
  arm_deadline();
  watch_idleness();
}

void SessionServer::save_client(Saver& archive, const Client& client) {
  lanes_.at(client.id())->save(archive);
}

void SessionServer::load_client(Loader& archive, Client& client) {
  const auto lane = lanes_.emplace(client.id(), std::make_unique<SessionLane>(*this, context(), client)).first;
  lane->second->load(archive);
}

void SessionLane::save(Saver& archive) {
  slot_.save(archive);
  archive(in_flight_, held_, initialize_id_, initialize_line_, revision_);
}

void SessionLane::load(Loader& archive) {
  slot_.load(archive);
  archive(in_flight_, held_, initialize_id_, initialize_line_, revision_);
  for (const auto& line : held_) {
    held_bytes_ += line.size();
  }
  arm_deadline();
}

}  // namespace hal::hub
