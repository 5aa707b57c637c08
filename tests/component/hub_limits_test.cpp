// The bounds of a session and of a server: what is over them gets the defined error, and nobody else notices.
#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_until;

constexpr int limit_reached = -32052;

class Limits : public HubTest, public testing::WithParamInterface<link::ServerMode> {
 public:
  void start(link::ServerSet server) {
    server.name = "s";
    server.mode = GetParam();
    hub->set_server(server);
    add_worker("a", {"s"});
    add_worker("b", {"s"});
  }
  std::unique_ptr<RelayPeer> ready_client(const std::string& worker) {
    auto client = connect(worker);
    client->initialize("s");
    if (process == nullptr || GetParam() == link::ServerMode::session) {
      process = &start_process("s");
    }
    EXPECT_TRUE(client->next().contains("result"));
    client->notify("notifications/initialized");
    return client;
  }

  FakeProcess* process = nullptr;
};

TEST_P(Limits, sessions_of_a_server) {
  link::ServerSet server;
  server.max_sessions = 2;
  start(server);
  auto a = connect("a");
  auto b = connect("b");
  EXPECT_NE(a->open("s"), "");
  EXPECT_NE(b->open("s"), "");
  auto third = connect("a");
  EXPECT_EQ(third->open("s"), "");
  EXPECT_EQ(third->last_error, "server s has 2 sessions, its limit");
  EXPECT_TRUE(run_until(loop, [&] { return third->closed; }));
  a->hang_up();
  ASSERT_TRUE(run_until(loop, [&] { return hub->sessions() == 1; }));
  auto fourth = connect("b");
  EXPECT_NE(fourth->open("s"), "");
}

TEST_P(Limits, requests_in_flight_at_a_server) {
  link::ServerSet server;
  server.max_requests = 3;
  start(server);
  auto a = ready_client("a");
  for (int i = 1; i <= 3; ++i) {
    a->send(request(i, "tools/call"));
  }
  const auto first = process->next();
  EXPECT_EQ(a->ask(4, "tools/call")["error"]["code"], limit_reached);
  process->answer(first, Json::object());
  EXPECT_EQ(a->next()["id"], 1);
  (void)process->next();
  (void)process->next();
  a->send(request(5, "tools/call"));
  EXPECT_EQ(process->next()["method"], "tools/call");
  auto b = ready_client("b");
  b->send(request(1, "tools/call"));
  if (GetParam() == link::ServerMode::shared) {  // the process is theirs together
    EXPECT_EQ(b->next()["error"]["code"], limit_reached);
  } else {
    process->answer(process->next(), Json::object());
    EXPECT_TRUE(b->next().contains("result"));
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, Limits, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

class HubInTime : public HubTest {
 public:
  void start(limits::Deadlines deadlines) {
    hub = std::make_unique<Hub>(
        loop, [this](link::ToDaemon message) { to_daemon.push_back(std::move(message)); }, deadlines);
    add_server("s");
    add_worker("a", {"s"});
  }
};

TEST_F(HubInTime, a_server_that_never_answers_initialize_is_given_back) {
  start({.handshake = 30ms});
  auto a = connect("a");
  a->initialize("s");
  auto& mute = start_process("s");
  mute.shakes_hands = false;
  EXPECT_EQ(a->next()["error"], Json({{"code", -32001}, {"message", "server s did not answer initialize in time"}}));
  ASSERT_TRUE(wait_told<link::InstanceRelease>());
  EXPECT_EQ(told<link::InstanceRelease>()[0]->instance, mute.instance);
  EXPECT_TRUE(run_until(loop, [&] { return mute.closed; }));
}

TEST_F(HubInTime, requests_do_not_wait_for_ever_for_a_process) {
  start({.instance = 30ms});
  FakeProcess early(loop, {77}, {});  // there before anybody waits for it
  hub->attach({"s", {77}, {}, std::move(early.to_server), std::move(early.from_server)});
  auto a = connect("a");
  a->initialize("s");
  ASSERT_TRUE(a->next().contains("result"));
  crash(early, "s", "exited with code 1");
  const auto error = a->ask(1, "tools/list")["error"];
  EXPECT_EQ(error["code"], -32055);
  EXPECT_NE(error["message"].get<std::string>().find("did not start"), std::string::npos) << error;
}

TEST_F(Shared, subscriptions_of_a_session_are_bounded) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  process->on_message = [&](const Json& message) { process->answer(message, Json::object()); };
  for (std::size_t i = 0; i < limits::subscriptions_per_session; ++i) {
    ASSERT_TRUE(a->ask(i, "resources/subscribe", {{"uri", "x:" + std::to_string(i)}}).contains("result")) << i;
  }
  EXPECT_EQ(a->ask("more", "resources/subscribe", {{"uri", "x:more"}})["error"]["code"], limit_reached);
  EXPECT_TRUE(b->ask(1, "resources/subscribe", {{"uri", "x:more"}}).contains("result"));
  EXPECT_TRUE(a->ask("less", "resources/unsubscribe", {{"uri", "x:0"}}).contains("result"));
  EXPECT_TRUE(a->ask("again", "resources/subscribe", {{"uri", "x:more"}}).contains("result"));
}

TEST_F(Shared, what_waits_for_a_process_is_bounded_and_all_of_it_is_answered) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  crash(*process, "s", "exited with code 1");
  constexpr int of_a = 200;
  constexpr int of_b = static_cast<int>(limits::requests_in_flight) - of_a;
  for (int i = 0; i < of_a; ++i) {
    a->send(request(i, "tools/call"));
  }
  EXPECT_EQ(a->ask("held before", "ping")["id"], "held before");
  for (int i = 0; i < of_b; ++i) {
    b->send(request(i, "tools/call"));
  }
  const auto refused = b->ask("one more", "tools/call");
  EXPECT_EQ(refused["id"], "one more");
  EXPECT_EQ(refused["error"]["code"], limit_reached);
  auto& second = start_process("s");
  second.on_message = [&](const Json& message) { second.answer(message, Json::object()); };
  for (const auto& [peer, count] : {std::pair{a.get(), of_a}, std::pair{b.get(), of_b}}) {
    EXPECT_EQ(peer->next()["method"], "notifications/tools/list_changed");
    for (int i = 0; i < count && !HasFailure(); ++i) {
      EXPECT_EQ(peer->next(), Json({{"jsonrpc", "2.0"}, {"id", i}, {"result", Json::object()}}));
    }
  }
}

TEST_F(Shared, open_questions_of_a_server_are_bounded) {
  auto a = ready_client("a", {{"roots", Json::object()}});
  for (std::size_t i = 0; i < limits::questions_open; ++i) {
    process->send(request(i, "roots/list"));
  }
  process->send(request("more", "roots/list"));
  const auto refusal = process->next();
  EXPECT_EQ(refusal["id"], "more");
  EXPECT_EQ(refusal["error"]["code"], -32601);
  const auto first = a->next();
  a->send({{"jsonrpc", "2.0"}, {"id", first["id"]}, {"result", {{"roots", Json::array()}}}});
  EXPECT_EQ(process->next()["id"], 0);
  process->send(request("again", "roots/list"));
  for (std::size_t i = 1; i <= limits::questions_open; ++i) {
    EXPECT_EQ(a->next()["method"], "roots/list");
  }
}

}  // namespace
}  // namespace hal::hub::test
