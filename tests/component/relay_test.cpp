#include "component/relay_support.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <memory>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

const std::string initialize = R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"a":[1,2]}})"
                               "\n";
const std::string initialize_result = R"({"jsonrpc":"2.0","id":0,"result":{"serverInfo":{}}})"
                                      "\n";
const std::string initialized = R"({"jsonrpc":"2.0","method":"notifications/initialized"})"
                                "\n";

std::string request(const std::string& id) {
  return "{\"jsonrpc\":\"2.0\",\"id\":" + id + ",\"method\":\"tools/call\"}\n";
}

std::string result(const std::string& id) {
  return "{\"jsonrpc\":\"2.0\",\"id\":" + id + ",\"result\":{}}\n";
}

std::string lost(const std::string& id) {
  return "{\"jsonrpc\":\"2.0\",\"id\":" + id +
         ",\"error\":{\"code\":-32603,\"message\":\"gateway restarted; the call may or may not have run\"}}\n";
}

std::string long_line(std::size_t bytes, char fill) {
  return "{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":{\"x\":\"" + std::string(bytes, fill) + "\"}}\n";
}

class Relay : public ::testing::Test {
 protected:
  std::vector<std::string> arguments() { return {"memory", "--socket", path_}; }

  /** Connects, and lets the client and the gateway shake hands. */
  void shake_hands() {
    session_ = gateway_->session();
    ASSERT_TRUE(session_);
    ASSERT_TRUE(relay_.in.write(initialize));
    ASSERT_EQ(session_.line(), initialize);
    ASSERT_TRUE(session_.write(initialize_result));
    ASSERT_EQ(relay_.out.line(), initialize_result);
    ASSERT_TRUE(relay_.in.write(initialized));
    ASSERT_EQ(session_.line(), initialized);
  }

  /** Takes the new connection after a break, and plays the server for the replayed handshake. */
  void shake_hands_again() {
    session_ = gateway_->accept();
    ASSERT_TRUE(session_);
    EXPECT_EQ(session_.line(), "{\"hal9000\":1,\"resume\":\"s1\",\"server\":\"memory\"}\n");
    ASSERT_TRUE(session_.write("{\"hal9000\":1,\"session\":\"s1\"}\n"));
    EXPECT_EQ(session_.line(), initialize);
    ASSERT_TRUE(session_.write(initialize_result));
    EXPECT_EQ(session_.line(), initialized);
  }

  TempDir folder_;
  std::string path_ = folder_ / "mcp.sock";
  std::unique_ptr<Gateway> gateway_ = std::make_unique<Gateway>(path_);
  RelayProcess relay_{arguments(), folder_ / "stderr"};
  Stream session_;
};

TEST_F(Relay, opens_a_session_before_anything_else) {
  ASSERT_TRUE(relay_.in.write(initialize));
  session_ = gateway_->accept();
  EXPECT_EQ(session_.line(), "{\"hal9000\":1,\"server\":\"memory\"}\n");
  ASSERT_TRUE(session_.write("{\"hal9000\":1,\"session\":\"s1\"}\n" + result("9")));
  EXPECT_EQ(relay_.out.line(), result("9")) << "what came with the answer is not lost";
  EXPECT_EQ(session_.line(), initialize);
}

TEST_F(Relay, passes_bytes_exactly) {
  shake_hands();
  std::string odd = "{\"id\" : 1.50e+1,\"method\":\"\\u0061\",\"params\":{\"big\":123456789012345678901234567890}}\n";
  odd += "\n\r\nnot json at all \xff\xfe\x80\n{\"u\":\"\xe2\x80\xa8\"}\n[1,2]\r\n";
  ASSERT_TRUE(relay_.in.write(odd));
  ASSERT_TRUE(session_.write(odd));
  std::string up;
  std::string down;
  while (up.size() < odd.size() && session_) {
    const auto line = session_.line();
    ASSERT_FALSE(line.empty());
    up += line;
  }
  while (down.size() < odd.size()) {
    const auto line = relay_.out.line();
    ASSERT_FALSE(line.empty());
    down += line;
  }
  EXPECT_EQ(up, odd);
  EXPECT_EQ(down, odd);
}

TEST_F(Relay, long_lines_pass_both_ways_at_once) {
  shake_hands();
  const std::string up = long_line(std::size_t{8} << 20, 'u');
  const std::string down = long_line(std::size_t{8} << 20, 'd');
  // Both ends only write until they are done: a relay that waits for one to read would never get there.
  auto client = std::async(std::launch::async, [&] { return relay_.in.write(up); });
  auto server = std::async(std::launch::async, [&] { return session_.write(down); });
  auto got_up = std::async(std::launch::async, [fd = ::dup(session_.fd())] { return Stream(UniqueFd(fd)).line(); });
  auto got_down = std::async(std::launch::async, [&] { return relay_.out.line(); });
  EXPECT_TRUE(client.get());
  EXPECT_TRUE(server.get());
  EXPECT_TRUE(got_up.get() == up);
  EXPECT_TRUE(got_down.get() == down);
}

TEST_F(Relay, a_client_that_does_not_read_stops_only_its_own_direction) {
  shake_hands();
  const std::string line = long_line(100000, 'x');
  // More than all buffers on the way hold: the gateway's write has to stop.
  ::fcntl(session_.fd(), F_SETFL, O_NONBLOCK);
  std::size_t written = 0;
  const auto write_some = [&] {
    const auto at = written % line.size();
    const auto count = ::write(session_.fd(), line.data() + at, line.size() - at);
    written += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    return count > 0;
  };
  // Full once may mean that the relay had no time yet; full again after a round trip the other way means a bound.
  bool moved = true;
  while (moved) {
    while (write_some()) {
      ASSERT_LT(written, std::size_t{64} << 20) << "no bound";
    }
    const auto id = std::to_string(written);
    ASSERT_TRUE(relay_.in.write(request(id)));
    ASSERT_EQ(session_.line(), request(id)) << "the other direction goes on";
    moved = write_some();
  }
  EXPECT_GT(written, 0U);
}

TEST_F(Relay, survives_a_restart_of_the_gateway) {
  shake_hands();
  std::string expected;
  for (const char* id : {"\"x\"", "0.5", "-1", "1e3", "\"5\"", "\"\\u00e4\\\"\""}) {
    ASSERT_TRUE(relay_.in.write(request(id)));
    ASSERT_EQ(session_.line(), request(id));
    expected += lost(id);
  }
  ASSERT_TRUE(relay_.in.write(request("5")));
  ASSERT_EQ(session_.line(), request("5"));
  ASSERT_TRUE(session_.write(result("5")));
  ASSERT_EQ(relay_.out.line(), result("5"));
  // A line cut by the crash must leave no trace.
  ASSERT_TRUE(session_.write("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"resu"));
  gateway_.reset();
  session_.close();
  std::string answers;
  for (int i = 0; i < 6; ++i) {
    answers += relay_.out.line();
  }
  EXPECT_EQ(answers, expected);
  ASSERT_TRUE(relay_.in.write(request("6")));  // waits for the gateway
  gateway_ = std::make_unique<Gateway>(path_);
  shake_hands_again();
  EXPECT_EQ(session_.line(), request("6"));
  ASSERT_TRUE(session_.write(result("6")));
  EXPECT_EQ(relay_.out.line(), result("6")) << "and not the replayed initialize's result";
}

TEST_F(Relay, a_new_session_is_told_of_subscriptions_and_log_level_again) {
  shake_hands();
  const auto wish = [](const std::string& id, const std::string& method, const std::string& params) {
    return "{\"jsonrpc\":\"2.0\",\"params\":{" + params + "},\"id\":" + id + ",\"method\":\"" + method + "\"}\n";
  };
  const auto level = wish("\"l\"", "logging/setLevel", "\"level\":\"debug\"");
  const auto kept = wish("2", "resources/subscribe", "\"uri\":\"x://kept\"");
  const auto dropped = wish("3", "resources/subscribe", "\"uri\":\"x://dropped\"");
  const auto refused = wish("4", "resources/subscribe", "\"uri\":\"x://refused\"");
  const auto undone = wish("5", "resources/unsubscribe", "\"uri\":\"x:\\/\\/dropped\"");
  for (const auto& [line, id] :
       {std::pair(level, "\"l\""), {kept, "2"}, {dropped, "3"}, {refused, "4"}, {undone, "5"}}) {
    ASSERT_TRUE(relay_.in.write(line));
    ASSERT_EQ(session_.line(), line);
    const auto answer = line == refused ? "{\"jsonrpc\":\"2.0\",\"id\":4,\"error\":{}}\n" : result(id);
    ASSERT_TRUE(session_.write(answer));
    ASSERT_EQ(relay_.out.line(), answer);
  }
  for (int i = 0; i < 2; ++i) {
    session_.close();
    shake_hands_again();
    EXPECT_EQ(session_.line(), level);
    EXPECT_EQ(session_.line(), kept);
    ASSERT_TRUE(relay_.in.write(request("6")));
    EXPECT_EQ(session_.line(), request("6"));
    ASSERT_TRUE(session_.write(result("2") + result("\"l\"") + result("6")));
    EXPECT_EQ(relay_.out.line(), result("6")) << "and not the repeated requests' results";
  }
}

TEST_F(Relay, lists_and_pings_are_asked_again_and_nothing_else_is) {
  shake_hands();
  const auto ask = [](const std::string& id, const std::string& method) {
    return "{\"jsonrpc\":\"2.0\",\"id\":" + id + ",\"method\":\"" + method + "\"}\n";
  };
  for (const auto& line : {ask("1", "tools/list"), request("2"), ask("\"3\"", "ping")}) {
    ASSERT_TRUE(relay_.in.write(line));
    ASSERT_EQ(session_.line(), line);
  }
  for (int i = 0; i < 2; ++i) {
    session_.close();
    if (i == 0) {
      EXPECT_EQ(relay_.out.line(), lost("2"));
    }
    shake_hands_again();
    EXPECT_EQ(session_.line(), ask("1", "tools/list"));
    EXPECT_EQ(session_.line(), ask("\"3\"", "ping"));
  }
  ASSERT_TRUE(relay_.in.write(request("4")));
  EXPECT_EQ(session_.line(), request("4")) << "after them";
  ASSERT_TRUE(session_.write(result("1") + result("\"3\"")));
  EXPECT_EQ(relay_.out.line(), result("1"));
  EXPECT_EQ(relay_.out.line(), result("\"3\""));
}

/** Revision 2026-07-28 has no handshake to be repeated, and its streams end with the connection. */
TEST_F(Relay, a_client_without_a_handshake_goes_on_after_a_restart_of_the_gateway) {
  const std::string meta = R"("_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"})";
  const auto ask = [&meta](const std::string& id, const std::string& method) {
    return "{\"jsonrpc\":\"2.0\",\"id\":" + id + ",\"method\":\"" + method + "\",\"params\":{" + meta + "}}\n";
  };
  session_ = gateway_->session();
  ASSERT_TRUE(session_);
  for (const auto& line : {ask("1", "server/discover"), ask("2", "subscriptions/listen"), ask("3", "tools/call")}) {
    ASSERT_TRUE(relay_.in.write(line));
    ASSERT_EQ(session_.line(), line);
  }
  ASSERT_TRUE(session_.write(result("1")));
  ASSERT_EQ(relay_.out.line(), result("1"));
  session_.close();
  EXPECT_EQ(relay_.out.line(), lost("2"));
  EXPECT_EQ(relay_.out.line(), lost("3"));
  session_ = gateway_->session();
  ASSERT_TRUE(session_);
  ASSERT_TRUE(relay_.in.write(ask("2", "subscriptions/listen")));
  EXPECT_EQ(session_.line(), ask("2", "subscriptions/listen"));
  ASSERT_TRUE(session_.write(result("2")));
  EXPECT_EQ(relay_.out.line(), result("2"));
}

TEST_F(Relay, survives_many_breaks_in_the_middle_of_long_lines) {
  shake_hands();
  const std::string down = long_line(std::size_t{1} << 20, 'd');
  for (int round = 0; round < 5; ++round) {
    const auto id = std::to_string(100 + round);
    ASSERT_TRUE(relay_.in.write(request(id)));
    ASSERT_EQ(session_.line(), request(id));
    auto server = std::async(std::launch::async, [&] { return session_.write(down.substr(0, down.size() / 2)); });
    // The half line flows to the client, then gets an end.
    auto half = std::async(std::launch::async, [&] {
      const bool written = server.get();
      session_.close();
      return written;
    });
    const auto cut = relay_.out.line();
    EXPECT_TRUE(half.get());
    EXPECT_TRUE(cut == down.substr(0, cut.size() - 1) + "\n") << cut.size();
    EXPECT_EQ(relay_.out.line(), lost(id));
    shake_hands_again();
  }
}

TEST_F(Relay, a_break_before_the_initialize_is_answered_is_not_seen_by_the_client) {
  session_ = gateway_->session();
  ASSERT_TRUE(relay_.in.write(initialize));
  ASSERT_EQ(session_.line(), initialize);
  session_.close();
  session_ = gateway_->session();
  EXPECT_EQ(session_.line(), initialize);
  ASSERT_TRUE(session_.write(initialize_result));
  EXPECT_EQ(relay_.out.line(), initialize_result);
}

TEST_F(Relay, a_session_the_gateway_forgot_becomes_a_new_one) {
  shake_hands();
  session_.close();
  session_ = gateway_->accept();
  EXPECT_NE(session_.line().find("\"resume\""), std::string::npos);
  ASSERT_TRUE(session_.write("{\"hal9000\":1,\"error\":\"no such session\"}\n"));
  session_ = gateway_->accept();
  EXPECT_EQ(session_.line(), "{\"hal9000\":1,\"server\":\"memory\"}\n");
  ASSERT_TRUE(session_.write("{\"hal9000\":1,\"session\":\"s2\"}\n"));
  EXPECT_EQ(session_.line(), initialize);
}

TEST_F(Relay, a_refusal_answers_the_initialize_and_ends) {
  session_ = gateway_->accept();
  (void)session_.line();
  ASSERT_TRUE(session_.write("{\"hal9000\":1,\"error\":\"no server of this name\"}\n"));
  ASSERT_TRUE(relay_.in.write(initialize));
  EXPECT_EQ(relay_.out.line(),
            "{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":-32603,"
            "\"message\":\"MCP server memory: no server of this name\"}}\n");
  EXPECT_EQ(relay_.wait(), 1 << 8);
  EXPECT_EQ(read_file(folder_ / "stderr"), "hal9000-mcp: MCP server memory: no server of this name\n");
}

TEST_F(Relay, garbage_instead_of_a_greeting_is_tried_again) {
  session_ = gateway_->accept();
  ASSERT_TRUE(session_.write("HTTP/1.1 200 OK\r\n"));
  session_ = gateway_->accept();
  (void)session_.write(std::string(100000, 'x'));  // may not get rid of all of it
  session_ = gateway_->session();
  ASSERT_TRUE(relay_.in.write(initialize));
  EXPECT_EQ(session_.line(), initialize);
}

TEST_F(Relay, a_signal_ends_the_session) {
  shake_hands();
  ASSERT_TRUE(relay_.in.write(request("1")));
  ASSERT_EQ(session_.line(), request("1"));
  relay_.signal(SIGTERM);
  EXPECT_EQ(relay_.wait(), 0);
  EXPECT_TRUE(session_.ended());
}

TEST_F(Relay, the_end_of_stdin_waits_for_answers) {
  shake_hands();
  ASSERT_TRUE(relay_.in.write(request("1")));
  relay_.in.close();
  ASSERT_EQ(session_.line(), request("1"));
  EXPECT_TRUE(session_.ended()) << "half closed";
  ASSERT_TRUE(session_.write(result("1")));
  EXPECT_EQ(relay_.out.line(), result("1"));
  EXPECT_EQ(relay_.wait(1s), 0);
}

TEST_F(Relay, the_end_of_stdin_with_nothing_open_is_the_end) {
  shake_hands();
  relay_.in.close();
  EXPECT_EQ(relay_.wait(1s), 0);
}

TEST_F(Relay, a_client_that_stops_reading_for_good_is_the_end) {
  shake_hands();
  relay_.out.close();
  EXPECT_EQ(relay_.wait(1s), 0);
}

TEST(RelayStart, waits_for_a_gateway_that_comes_later) {
  TempDir folder;
  RelayProcess relay({"memory", "--socket", folder / "mcp.sock"});
  ASSERT_TRUE(relay.in.write(initialize));
  EXPECT_FALSE(relay.wait(100ms));
  Gateway gateway(folder / "mcp.sock");
  Stream session = gateway.session();
  EXPECT_EQ(session.line(), initialize);
}

TEST(RelaySignal, ends_it_within_the_time_claude_code_gives) {
  // Claude Code sends SIGTERM 100 ms after SIGINT. The machine may be busy with other tests, so the best of some
  // counts.
  TempDir folder;
  Gateway gateway(folder / "mcp.sock");
  for (const bool connected : {true, false}) {
    auto best = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 5; ++i) {
      RelayProcess relay({"memory", "--socket", connected ? folder / "mcp.sock" : folder / "absent.sock"});
      ASSERT_TRUE(relay.in.write(initialize));
      Stream session;
      if (connected) {
        session = gateway.session();
        ASSERT_EQ(session.line(), initialize);
      } else {
        ASSERT_FALSE(relay.wait(500ms)) << "waits for the gateway";
      }
      const auto before = std::chrono::steady_clock::now();
      relay.signal(SIGINT);
      ASSERT_EQ(relay.wait(), 0);
      best = std::min(best, std::chrono::steady_clock::now() - before);
    }
    EXPECT_LT(best, 100ms) << (connected ? "connected" : "without a gateway");
  }
}

TEST(RelayStart, without_a_servers_name_asks_for_all_of_them) {
  TempDir folder;
  Gateway gateway(folder / "mcp.sock");
  RelayProcess relay({"--socket", folder / "mcp.sock"}, folder / "stderr");
  auto session = gateway.accept();
  EXPECT_EQ(session.line(), "{\"hal9000\":1,\"server\":\"*\"}\n");
  ASSERT_TRUE(session.write("{\"hal9000\":1,\"error\":\"no\"}\n"));
  EXPECT_EQ(relay.wait(), 1 << 8);
  EXPECT_EQ(read_file(folder / "stderr"), "hal9000-mcp: MCP servers: no\n");
}

TEST(RelayStart, wrong_arguments_are_refused) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {""}, {"../x"}, {"a b"}, {"*"}, {"a", "--socket"}, {"--socket"}, {"--other", "x"}, {"configure", "extra"}}) {
    RelayProcess relay(arguments);
    EXPECT_EQ(relay.wait(), 2 << 8);
  }
}

TEST(RelayConfigure, concurrent_workers_of_one_home_lose_nothing) {
  TempDir folder;
  const auto path = folder.write(".claude.json", "{\"theme\":\"dark\",\"mcpServers\":{\"own\":{\"command\":\"x\"}}}");
  const auto config = folder.write("mcp.json", "{\"servers\":[\"a\",\"b\"]}");
  std::vector<std::unique_ptr<RelayProcess>> all;
  for (int i = 0; i < 8; ++i) {
    all.push_back(std::make_unique<RelayProcess>(
        std::vector<std::string>{"configure", "--config", config, "--home", folder.path()}));
  }
  for (auto& one : all) {
    EXPECT_EQ(one->wait(), 0);
  }
  const auto text = read_file(path);
  for (const char* part : {"\"theme\": \"dark\"", "\"own\"", "\"a\"", "\"b\"", "\"hasCompletedOnboarding\": true"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST(RelayConfigure, a_broken_file_is_left_alone) {
  TempDir folder;
  const auto path = folder.write(".claude.json", "{\"theme\":");
  const auto config = folder.write("mcp.json", "{\"servers\":[\"a\"]}");
  RelayProcess relay({"configure", "--config", config, "--home", folder.path()}, folder / "stderr");
  EXPECT_EQ(relay.wait(), 1 << 8);
  EXPECT_EQ(read_file(path), "{\"theme\":");
  const auto text = read_file(folder / "stderr");
  EXPECT_NE(text.find(path + " is left as it is"), std::string::npos) << text;
}

TEST(RelayConfigure, a_file_that_is_too_large_is_left_alone) {
  TempDir folder;
  const std::string large = "{\"a\":\"" + std::string(std::size_t{17} << 20, 'x') + "\"}";
  const auto path = folder.write(".claude.json", large);
  const auto config = folder.write("mcp.json", "{\"servers\":[\"a\"]}");
  RelayProcess relay({"configure", "--config", config, "--home", folder.path()});
  EXPECT_EQ(relay.wait(), 1 << 8);
  EXPECT_TRUE(read_file(path) == large);
}

}  // namespace
}  // namespace hal::test
