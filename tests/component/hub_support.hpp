#pragma once

#include "event/loop.hpp"
#include "hub/hub.hpp"
#include "hub/hub_limits.hpp"
#include "io/line_channel.hpp"
#include "support/component.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

/** A hub on a real loop with real sockets and pipes; the daemon, the relays and the servers are played by the test. */
namespace hal::hub::test {

using Json = nlohmann::json;
using namespace std::chrono_literals;

/** What a relay does: opens a session on a worker's socket, then speaks JSON-RPC. */
class RelayPeer {
 public:
  RelayPeer(event::Loop& loop, UniqueFd socket);

  void send_raw(std::string_view line);
  void send(const Json& message) { send_raw(message.dump()); }
  /** First line and its answer; empty if it was refused, see last_error. */
  std::string open(const std::string& server);
  /** open() and initialize; the answer is the next line, once the server has a process. */
  void initialize(const std::string& server, const Json& capabilities = Json::object());

  /** The next line, waited for. Fails the test when none comes. */
  std::string next_raw();
  Json next() { return Json::parse(next_raw()); }
  /** Sends a request and waits for the next line. */
  Json ask(const Json& id, const std::string& method, const Json& params = Json::object());
  void notify(const std::string& method, const Json& params = Json::object());

  void hang_up() { channel_.reset(); }
  void pause() { channel_->pause(); }
  void resume() { channel_->resume(); }

  std::deque<std::string> lines;
  bool closed = false;
  std::string last_error;

 private:
  event::Loop& loop_;
  std::unique_ptr<io::LineChannel> channel_;
};

/** One process of a server, played by the test on the other ends of its pipes. */
class FakeProcess {
 public:
  FakeProcess(event::Loop& loop, InstanceId instance, std::optional<std::string> session);

  /** The hub's ends, to be attached. */
  UniqueFd to_server;
  UniqueFd from_server;
  InstanceId instance;
  std::optional<std::string> session;

  void send_raw(std::string_view line);
  void send(const Json& message) { send_raw(message.dump()); }
  void write_bytes(std::string_view bytes);
  /** Past the queue, straight into the pipe; false when it is full. */
  [[nodiscard]] bool try_write(std::string_view bytes);
  [[nodiscard]] std::size_t queued_bytes() const { return channel_->queued_bytes(); }
  void answer(const Json& request, const Json& result);
  /** The next message that is not consumed by the handshake, waited for. */
  Json next();
  std::string next_raw();
  /** The next message with this method; others before it are dropped. */
  Json next_of(const std::string& method);
  void die() { channel_.reset(); }
  void pause() { channel_->pause(); }
  void resume() { channel_->resume(); }

  /** Answers initialize and keeps initialized to itself, as long as this is set. */
  bool shakes_hands = true;
  std::string revision = "2025-11-25";
  Json capabilities = {{"tools", {{"listChanged", true}}}, {"logging", Json::object()}};
  std::string instructions;
  std::size_t handshakes = 0;
  std::size_t initialized = 0;
  Json initialize_params;
  std::deque<std::string> lines;
  bool closed = false;
  /** Where set, takes every line instead of `lines`. */
  std::function<void(const Json&)> on_message;

 private:
  void on_line(std::string_view line);

  event::Loop& loop_;
  int raw_out_ = -1;
  std::unique_ptr<io::LineChannel> channel_;
};

class HubTest : public testing::Test {
 public:
  HubTest();
  ~HubTest() override;

  void add_worker(const std::string& id, const std::vector<std::string>& servers);
  void add_server(const std::string& name, link::ServerMode mode = link::ServerMode::shared,
                  const policy::ToolRules& tools = {});
  std::unique_ptr<RelayPeer> connect(const std::string& worker);
  /** Waits for the hub to ask for a process of `server` and attaches one. */
  FakeProcess& start_process(const std::string& server);
  /** Ends a process and tells the hub why. */
  void crash(FakeProcess& process, const std::string& server, const std::string& reason);
  /** The messages of this kind to the daemon, in order; they are kept. */
  template <class T>
  std::vector<T*> told() {
    std::vector<T*> found;
    for (auto& message : to_daemon) {
      if (auto* one = std::get_if<T>(&message)) {
        found.push_back(one);
      }
    }
    return found;
  }
  template <class T>
  [[nodiscard]] bool wait_told(std::size_t count = 1) {
    return hal::test::run_until(loop, [&] { return told<T>().size() >= count; });
  }

  event::Loop loop;
  hal::test::TempDir folder;
  std::deque<link::ToDaemon> to_daemon;
  std::unique_ptr<Hub> hub;
  std::vector<std::unique_ptr<FakeProcess>> processes;

 private:
  std::size_t requests_served_ = 0;
};

/** Workers A and B with one shared server, both initialized. */
class Shared : public HubTest {
 public:
  Shared() {
    add_server("s");
    add_worker("a", {"s"});
    add_worker("b", {"s"});
  }

  std::unique_ptr<RelayPeer> ready_client(const std::string& worker, const Json& capabilities = Json::object()) {
    auto client = connect(worker);
    client->initialize("s", capabilities);
    if (process == nullptr) {
      process = &start_process("s");
    }
    const auto answer = client->next();
    EXPECT_EQ(answer["result"]["serverInfo"]["name"], "fake") << answer;
    client->notify("notifications/initialized");
    return client;
  }

  /** The next two calls, that of "a" (params.who) first: sockets keep no order among each other. */
  std::pair<Json, Json> two_calls() {
    auto first = process->next();
    auto second = process->next();
    if (first["params"]["who"] != "a") {
      std::swap(first, second);
    }
    return {std::move(first), std::move(second)};
  }

  FakeProcess* process = nullptr;
};

[[nodiscard]] Json request(const Json& id, const std::string& method, const Json& params = Json::object());
[[nodiscard]] Json notification(const std::string& method, const Json& params = Json::object());

}  // namespace hal::hub::test
