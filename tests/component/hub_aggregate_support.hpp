#pragma once

#include "hub_support.hpp"

#include <map>

/** The aggregated endpoint over a hub on a real loop; the test plays the client and the servers' processes. */
namespace hal::hub::test {

class Aggregate : public HubTest {
 public:
  Aggregate() {
    add_server("files");
    add_server("notes");
    add_worker("a", {"files", "notes"});
  }

  /** A client of all servers that has shaken hands, which no server has been asked for. */
  std::unique_ptr<RelayPeer> all(const Json& can = Json::object(), const std::string& worker = "a") {
    auto client = connect(worker);
    client->initialize("*", can);
    const auto answer = client->next();
    EXPECT_EQ(answer["result"]["serverInfo"]["name"], "hal9000") << answer;
    client->notify("notifications/initialized");
    return client;
  }

  Json connect_and_initialize() {
    auto client = connect("a");
    client->initialize("*");
    return client->next();
  }

  /** Attaches a process for each server that one is asked for, in whatever order. */
  void start_all(const std::vector<std::string>& names) {
    EXPECT_TRUE(wait_told<link::InstanceRequest>(started_ + names.size()));
    const auto requests = told<link::InstanceRequest>();
    for (std::size_t i = started_; i < requests.size(); ++i) {
      start(*requests[i]);
    }
    started_ = requests.size();
  }
  FakeProcess& of(const std::string& server) { return *process_of.at(server); }

  /** The list, whose servers answer with these elements. */
  Json list(RelayPeer& client, const std::string& method, const std::string& key,
            const std::map<std::string, Json>& elements) {
    client.send(request("list", method));
    for (const auto& [server, of_server] : elements) {
      const auto asked = of(server).next_of(method);
      of(server).answer(asked, {{key, of_server}});
    }
    return client.next()["result"][key];
  }

  static Json names(const Json& elements, const char* key = "name") {
    Json found = Json::array();
    for (const auto& element : elements) {
      found.push_back(element[key]);
    }
    return found;
  }

  std::map<std::string, FakeProcess*> process_of;

 protected:
  void start(const link::InstanceRequest& asked) {
    const InstanceId instance{1000 + processes.size()};
    processes.push_back(std::make_unique<FakeProcess>(
        loop, instance, asked.session ? std::optional(asked.session->value) : std::nullopt));
    auto& process = *processes.back();
    process.capabilities = capabilities;
    process.instructions = instructions;
    process_of[asked.server] = &process;
    hub->attach({asked.server, instance, asked.session, std::move(process.to_server), std::move(process.from_server)});
  }

  Json capabilities = {
      {"tools", {{"listChanged", true}}},   {"prompts", Json::object()},
      {"resources", {{"subscribe", true}}}, {"completions", Json::object()},
      {"logging", Json::object()},          {"tasks", {{"list", Json::object()}, {"cancel", Json::object()}}}};
  std::string instructions;
  std::size_t started_ = 0;
};

}  // namespace hal::hub::test
