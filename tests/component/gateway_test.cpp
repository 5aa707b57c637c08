#include "gateway_support.hpp"

namespace hal::hub::test {
namespace {

TEST_F(RealServers, two_workers_share_the_everything_server) {
  serve("everything", program("mcp-server-everything"));
  start();
  auto a = client("a", "everything");
  auto b = client("b", "everything");
  EXPECT_EQ(daemon.started, 1U);
  a->send(request(1, "tools/list"));
  b->send(tool(1, "echo", {{"message", "from b"}}));
  a->send(tool(2, "echo", {{"message", "from a"}}));
  EXPECT_GT(answer_to(*a, 1)["result"]["tools"].size(), 5U);
  EXPECT_NE(answer_to(*b, 1)["result"].dump().find("from b"), std::string::npos);
  EXPECT_NE(answer_to(*a, 2)["result"].dump().find("from a"), std::string::npos);

  // Progress of a long operation reaches the one who asked, under its own token, before the result.
  auto long_one = tool("long", "trigger-long-running-operation", {{"duration", 0.2}, {"steps", 4}});
  long_one["params"]["_meta"] = {{"progressToken", "mine"}};
  a->send(long_one);
  for (int step = 1; step <= 4; ++step) {
    const auto progress = a->next();
    ASSERT_EQ(progress["method"], "notifications/progress") << progress;
    EXPECT_EQ(progress["params"]["progressToken"], "mine");
    EXPECT_EQ(progress["params"]["progress"], step);
  }
  EXPECT_EQ(a->next()["id"], "long");
  b->send(request(3, "resources/list"));
  EXPECT_TRUE(answer_to(*b, 3).contains("result"));
  b->send(request(4, "prompts/list"));
  EXPECT_TRUE(answer_to(*b, 4).contains("result"));
}

TEST_F(RealServers, each_worker_has_its_own_train_of_thought) {
  serve("thinking", program("mcp-server-sequential-thinking"), link::ServerMode::session);
  start();
  auto a = client("a", "thinking");
  auto b = client("b", "thinking");
  EXPECT_EQ(daemon.started, 2U);
  const auto think = [&](RelayPeer& peer, int number) {
    peer.send(tool(number, "sequentialthinking",
                   {{"thought", "t"}, {"thoughtNumber", number}, {"totalThoughts", 3}, {"nextThoughtNeeded", true}}));
    const auto result = answer_to(peer, number)["result"];
    return Json::parse(result["content"][0]["text"].get<std::string>())["thoughtHistoryLength"];
  };
  EXPECT_EQ(think(*a, 1), 1);
  EXPECT_EQ(think(*a, 2), 2);
  EXPECT_EQ(think(*b, 1), 1);
  a->hang_up();
  EXPECT_TRUE(run_until(loop, [&] { return daemon.gone.size() == 1; }));
  EXPECT_EQ(think(*b, 2), 2);
}

TEST_F(Gateway, twenty_real_clients_at_once_share_one_handshake) {
  serve_fake();
  start();
  std::vector<std::unique_ptr<RelayPeer>> peers;
  for (int i = 0; i < 20; ++i) {
    peers.push_back(std::make_unique<RelayPeer>(
        loop, std::move(*io::connect_unix(folder / (i % 2 == 0 ? "a.sock" : "b.sock"), SOCK_STREAM))));
    peers.back()->initialize("fake");
  }
  for (auto& peer : peers) {
    EXPECT_EQ(answer_to(*peer, 0)["result"]["serverInfo"]["name"], "fake");
  }
  EXPECT_EQ(daemon.started, 1U);
  EXPECT_EQ(received("initialize").size(), 1U);
}

TEST_F(Gateway, the_server_sees_a_cancellation_under_the_id_it_knows) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  a->send(tool(7, "hang"));
  a->notify("notifications/cancelled", {{"requestId", 7}});
  EXPECT_EQ(a->ask(8, "tools/list")["id"], 8);
  const auto calls = received("tools/call");
  const auto cancellations = received("notifications/cancelled");
  ASSERT_EQ(calls.size(), 1U);
  ASSERT_EQ(cancellations.size(), 1U);
  EXPECT_EQ(cancellations[0]["params"]["requestId"], calls[0]["id"]);
}

TEST_F(Gateway, a_vanished_clients_calls_are_cancelled_and_the_others_go_on) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  auto b = client("b", "fake");
  a->send(tool("same", "hang"));
  ASSERT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].traffic.requests >= 3; }));
  a->hang_up();
  b->send(tool("same", "echo", {{"x", 1}}));
  EXPECT_EQ(b->next()["id"], "same");
  ASSERT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].sessions.size() == 1; }));
  EXPECT_EQ(b->ask(1, "tools/list")["id"], 1);
  EXPECT_EQ(received("notifications/cancelled").size(), 1U);
}

TEST_F(Gateway, a_crash_in_mid_call_is_answered_and_survived) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  auto b = client("b", "fake");
  const auto first_process = server_info["version"];
  a->send(tool(1, "hang"));
  b->send(tool(1, "crash", {{"code", 3}}));
  for (auto* peer : {a.get(), b.get()}) {
    const auto failed = answer_to(*peer, 1);
    EXPECT_EQ(failed["error"]["code"], -32603);
    EXPECT_EQ(failed["error"]["message"], "server fake exited with code 3, restarting");
  }
  a->send(tool(2, "echo", {{"still", "here"}}));
  EXPECT_TRUE(answer_to(*a, 2).contains("result"));
  b->send(tool(2, "echo"));
  EXPECT_TRUE(answer_to(*b, 2).contains("result"));
  EXPECT_EQ(daemon.started, 2U);
  auto c = client("a", "fake");
  EXPECT_NE(server_info["version"], first_process);
}

TEST_F(Gateway, garbage_half_lines_double_answers_and_200_mib_lines_are_no_answers) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  a->send(tool(1, "garbage"));
  EXPECT_EQ(answer_to(*a, 1)["result"]["content"][0]["text"], "after garbage");
  a->send(tool(2, "twice"));
  EXPECT_EQ(answer_to(*a, 2)["result"]["content"][0]["text"], "first");
  a->send(tool(3, "huge", {{"bytes", 200 << 20}}));
  const auto failed = answer_to(*a, 3);
  EXPECT_EQ(failed["error"]["code"], -32603);
  EXPECT_NE(failed["error"]["message"].get<std::string>().find("209715"), std::string::npos) << failed;
  a->send(tool(4, "huge", {{"bytes", 8 << 20}}));
  EXPECT_EQ(answer_to(*a, 4)["result"]["content"][0]["text"].get<std::string>().size(), std::size_t{8} << 20);
  a->send(tool(5, "half"));
  EXPECT_EQ(answer_to(*a, 5)["error"]["message"], "server fake exited with code 0, restarting");
}

TEST_F(Gateway, the_largest_result_takes_memory_for_one_and_gives_it_back) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  constexpr std::size_t message = std::size_t{63} << 20;
  const auto before = resident_bytes();
  for (int i = 1; i <= 3; ++i) {
    a->send(tool(i, "huge", {{"bytes", message}}));
    EXPECT_GT(a->next_raw().size(), message);
  }
  a->send(tool(4, "echo"));
  EXPECT_TRUE(answer_to(*a, 4).contains("result"));
  expect_memory_of_one(before, message);
}

TEST_F(Gateway, a_server_that_never_starts_right_is_told_to_every_client) {
  serve_fake({"--crash-at-start"});
  serve("missing", {});
  start();
  auto peer = std::make_unique<RelayPeer>(loop, std::move(*io::connect_unix(folder / "a.sock", SOCK_STREAM)));
  peer->initialize("fake");
  EXPECT_EQ(peer->next()["error"]["message"], "server fake exited with code 1");
  auto other = std::make_unique<RelayPeer>(loop, std::move(*io::connect_unix(folder / "a.sock", SOCK_STREAM)));
  other->initialize("missing");
  EXPECT_EQ(other->next()["error"]["message"], "server missing is not available: no such program");
}

TEST_F(Gateway, a_session_process_crashes_alone) {
  serve_fake({}, link::ServerMode::session);
  start();
  auto a = client("a", "fake");
  auto b = client("b", "fake");
  EXPECT_EQ(daemon.started, 2U);
  a->send(tool("c", "crash", {{"code", 5}}));
  EXPECT_EQ(answer_to(*a, "c")["error"]["message"], "server fake exited with code 5");
  EXPECT_TRUE(run_until(loop, [&] { return a->closed; }));
  b->send(tool(1, "echo"));
  EXPECT_TRUE(answer_to(*b, 1).contains("result"));
}

TEST_F(Gateway, the_daemon_calls_a_tool_and_sees_the_counters) {
  serve_fake();
  start();
  daemon.send(link::Call{5, "fake", "tools/call", R"({"name":"echo","arguments":{"k":1}})"});
  ASSERT_TRUE(run_until(loop, [&] { return daemon.results.contains(5); }));
  ASSERT_TRUE(daemon.results.at(5).has_value()) << daemon.results.at(5).error().message;
  EXPECT_EQ(Json::parse(*daemon.results.at(5))["content"][0]["text"], "{\"k\": 1}");
  ASSERT_TRUE(run_until(loop, [&] { return !daemon.reports["fake"].protocol_version.empty(); }));
  EXPECT_EQ(daemon.reports["fake"].protocol_version, "2025-11-25");
}

TEST_F(Gateway, sigterm_answers_what_is_open_and_exits_in_order) {
  serve_fake();
  start();
  auto a = client("a", "fake");
  a->send(tool(1, "hang"));
  ASSERT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].traffic.requests >= 2; }));
  gateway->kill_group(SIGTERM);
  EXPECT_EQ(a->next()["error"]["message"], "server fake the gateway is stopping");
  ASSERT_TRUE(run_until(loop, [&] { return exit.has_value() && a->closed; }));
  EXPECT_EQ(exit->code, 0);
  EXPECT_EQ(daemon.released, 1);
}

TEST_F(Gateway, a_child_ends_when_its_daemon_is_gone) {
  serve_fake();
  start();
  daemon.end.reset();
  daemon.closed = true;
  ASSERT_TRUE(run_until(loop, [&] { return exit.has_value(); }));
  EXPECT_EQ(exit->code, 0);
}

/** A gateway with a socket of its own, as its unit starts it. */
class GatewayUnit : public Gateway {
 public:
  GatewayUnit() {
    ::chmod(folder.path().c_str(), 0755);
    listener = std::move(*io::listen_unix(folder / "link.sock", SOCK_SEQPACKET, 0666));
    // LISTEN_PID is the process's own, which only the process knows.
    spawn_gateway({"sh", "-c", "LISTEN_PID=$$ exec " + environment("HAL9000_GATEWAY")}, listener.get());
    serve_fake();
  }
  UniqueFd connection() { return std::move(*io::connect_unix(folder / "link.sock", SOCK_SEQPACKET)); }

  UniqueFd listener;
};

TEST_F(GatewayUnit, sessions_and_calls_outlive_the_daemon) {
  daemon.connect(connection());
  ASSERT_TRUE(run_until(loop, [&] { return daemon.hello.has_value(); }));
  EXPECT_TRUE(daemon.hello->workers.empty());
  add_worker("a");
  auto a = client("a", "fake");
  a->send(tool(1, "echo"));
  EXPECT_TRUE(answer_to(*a, 1).contains("result"));

  daemon.end.reset();  // the daemon is killed; its servers are units of their own
  a->send(tool(2, "echo"));
  EXPECT_TRUE(answer_to(*a, 2).contains("result"));

  daemon.hello.reset();
  daemon.connect(connection());
  ASSERT_TRUE(run_until(loop, [&] { return daemon.hello.has_value(); }));
  ASSERT_EQ(daemon.hello->workers.size(), 1U);
  EXPECT_EQ(daemon.hello->workers[0].value, "a");
  ASSERT_EQ(daemon.hello->instances.size(), 1U);
  EXPECT_EQ(daemon.hello->instances[0].server, "fake");
  EXPECT_EQ(daemon.hello->instances[0].instance.value, 1U);
  a->send(tool(3, "crash", {{"code", 4}}));
  EXPECT_EQ(answer_to(*a, 3)["error"]["message"], "server fake exited with code 4, restarting");
  a->send(tool(4, "echo"));
  EXPECT_TRUE(answer_to(*a, 4).contains("result"));
}

TEST_F(GatewayUnit, only_root_and_its_own_user_may_hold_the_link) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root to become somebody else";
  }
  std::optional<std::string> seen;
  process::ForkTask stranger(
      loop, "stranger", hal::test::scaled(10s),
      [this]() -> Result<process::TaskOutput> {
        if (::setresuid(65534, 65534, 65534) != 0) {
          return errno_error("setresuid");
        }
        auto socket = io::connect_unix(folder / "link.sock", SOCK_SEQPACKET);
        if (!socket) {
          return socket.error();
        }
        return process::TaskOutput{{}, hal::test::read_all(socket->get()).empty() ? "shut out" : "let in"};
      },
      [&](Result<process::TaskOutput> output) { seen = output ? output->text : output.error().message; });
  ASSERT_TRUE(run_until(loop, [&] { return seen.has_value(); }));
  EXPECT_EQ(*seen, "shut out");
}

}  // namespace
}  // namespace hal::hub::test
