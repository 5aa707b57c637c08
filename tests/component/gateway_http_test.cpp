#include "gateway_support.hpp"
#include "http_support.hpp"

#include <set>

/** The real gateway with real servers over HTTP: the test plays hal9000d and the HTTP clients. */
namespace hal::hub::test {
namespace {

using http::test::HttpPeer;
using http::test::Response;

/** One client of one worker; a connection for each request. */
class HttpClient {
 public:
  HttpClient(event::Loop& loop, std::uint16_t port, std::string worker, std::string server)
      : loop_(loop), port_(port), worker_(std::move(worker)), path_("/mcp/" + server) {}

  void initialize() {
    const auto response = post(request(0, "initialize",
                                       {{"protocolVersion", "2025-11-25"},
                                        {"capabilities", Json::object()},
                                        {"clientInfo", {{"name", "test"}, {"version", "1"}}}}))
                              ->response();
    EXPECT_EQ(response.status, 200U) << response.body;
    session = response.header("mcp-session-id");
    EXPECT_EQ(post({{"jsonrpc", "2.0"}, {"method", "notifications/initialized"}})->response().status, 202U);
  }

  std::unique_ptr<HttpPeer> post(const Json& message) { return send("POST", message.dump()); }
  std::unique_ptr<HttpPeer> send(const std::string& method, const std::string& body = "",
                                 const std::string& accept = "application/json, text/event-stream") {
    auto peer = std::make_unique<HttpPeer>(loop_, port_);
    HttpPeer::Headers headers = {
        {"Authorization", "Bearer " + worker_ + ".secret"}, {"Accept", accept}, {"Content-Type", "application/json"}};
    if (!session.empty()) {
      headers.emplace_back("Mcp-Session-Id", session);
    }
    peer->send(method, path_, headers, body);
    return peer;
  }
  /** The answer, whichever way it comes; events before it are counted. */
  Json ask(const Json& message) {
    const auto peer = post(message);
    const auto response = peer->response();
    if (response.header("content-type") == "application/json") {
      return response.json();
    }
    Json last;
    for (std::size_t at = 0; (at = response.body.find("data: {", at)) != std::string::npos; ++at) {
      last = Json::parse(response.body.substr(at + 6, response.body.find("\n\n", at) - at - 6));
      ++messages;
    }
    return last;
  }

  std::string session;
  std::size_t messages = 0;

 private:
  event::Loop& loop_;
  std::uint16_t port_;
  std::string worker_;
  std::string path_;
};

template <class Base>
class OverHttp : public Base {
 public:
  void start_http() {
    this->start();
    listen();
  }
  void listen() { this->daemon.send(link::HttpListen{"net:1", http::test::listen_tcp(port)}); }
  HttpClient http_client(const std::string& worker, const std::string& server) {
    HttpClient client(this->loop, port, worker, server);
    client.initialize();
    return client;
  }

  std::uint16_t port = 0;
};

using GatewayHttp = OverHttp<Gateway>;
using RealServersHttp = OverHttp<RealServers>;

TEST_F(RealServersHttp, the_everything_server_serves_two_workers_one_of_them_by_the_relay) {
  serve("everything", program("mcp-server-everything"));
  start_http();
  auto a = http_client("a", "everything");
  auto b = client("b", "everything");
  EXPECT_EQ(daemon.started, 1U);
  EXPECT_GT(a.ask(request(1, "tools/list"))["result"]["tools"].size(), 5U);
  EXPECT_NE(a.ask(tool(2, "echo", {{"message", "over http"}})).dump().find("over http"), std::string::npos);
  b->send(tool(1, "echo", {{"message", "from b"}}));
  EXPECT_NE(answer_to(*b, 1)["result"].dump().find("from b"), std::string::npos);

  auto long_one = tool("long", "trigger-long-running-operation", {{"duration", 0.2}, {"steps", 4}});
  long_one["params"]["_meta"] = {{"progressToken", "mine"}};
  EXPECT_EQ(a.ask(long_one)["id"], "long");
  EXPECT_EQ(a.messages, 5U);  // four steps and the answer
  EXPECT_TRUE(a.ask(request(3, "resources/list")).contains("result"));
  EXPECT_TRUE(a.ask(request(4, "prompts/list")).contains("result"));
  EXPECT_EQ(a.send("DELETE")->response().status, 204U);
}

TEST_F(RealServersHttp, each_session_has_its_own_train_of_thought) {
  serve("thinking", program("mcp-server-sequential-thinking"), link::ServerMode::session);
  start_http();
  auto a = http_client("a", "thinking");
  auto b = http_client("a", "thinking");
  const auto think = [&](HttpClient& client, int number) {
    const auto answer = client.ask(
        tool(number, "sequentialthinking",
             {{"thought", "t"}, {"thoughtNumber", number}, {"totalThoughts", 3}, {"nextThoughtNeeded", true}}));
    return Json::parse(answer["result"]["content"][0]["text"].get<std::string>())["thoughtHistoryLength"];
  };
  EXPECT_EQ(think(a, 1), 1);
  EXPECT_EQ(think(a, 2), 2);
  EXPECT_EQ(think(b, 1), 1);
  EXPECT_EQ(a.send("DELETE")->response().status, 204U);
  EXPECT_TRUE(run_until(loop, [&] { return daemon.gone.size() == 1; }));
  EXPECT_EQ(think(b, 2), 2);
}

TEST_F(GatewayHttp, a_crash_in_mid_call_is_answered_and_the_session_stays) {
  serve_fake();
  start_http();
  auto a = http_client("a", "fake");
  EXPECT_EQ(a.ask(tool(1, "crash", {{"code", 3}}))["error"]["message"], "server fake exited with code 3, restarting");
  EXPECT_TRUE(a.ask(tool(2, "echo", {{"still", "here"}})).contains("result"));
}

TEST_F(GatewayHttp, the_crash_of_a_sessions_own_process_ends_it_with_404) {
  serve_fake({}, link::ServerMode::session);
  start_http();
  auto a = http_client("a", "fake");
  auto b = http_client("b", "fake");
  EXPECT_EQ(a.ask(tool(1, "crash", {{"code", 5}}))["error"]["message"], "server fake exited with code 5");
  const auto gone = a.post(tool(2, "echo"))->response();
  EXPECT_EQ(gone.status, 404U);
  EXPECT_EQ(gone.json()["error"]["code"], -32001);
  EXPECT_TRUE(b.ask(tool(1, "echo")).contains("result"));
}

TEST_F(GatewayHttp, the_largest_result_takes_memory_for_one_and_gives_it_back) {
  serve_fake();
  start_http();
  auto a = http_client("a", "fake");
  constexpr std::size_t message = std::size_t{63} << 20;
  const auto before = resident_bytes();
  for (const auto* accept : {"application/json, text/event-stream", "text/event-stream, application/json"}) {
    const auto response = a.send("POST", tool(1, "huge", {{"bytes", message}}).dump(), accept)->response();
    EXPECT_EQ(response.header("content-type"), std::string(accept).substr(0, std::string(accept).find(',')));
    EXPECT_GT(response.body.size(), message);
  }
  EXPECT_TRUE(a.ask(tool(2, "echo")).contains("result"));
  expect_memory_of_one(before, message);
}

TEST_F(GatewayHttp, a_new_socket_replaces_the_old_one_and_sessions_stay) {
  serve_fake();
  start_http();
  auto a = http_client("a", "fake");
  const auto old_port = port;
  listen();
  EXPECT_NE(port, old_port);
  HttpClient moved(loop, port, "a", "fake");
  moved.session = a.session;
  EXPECT_TRUE(moved.ask(tool(1, "echo")).contains("result"));
  HttpPeer late(loop, old_port);
  EXPECT_TRUE(run_until(loop, [&] { return late.closed; }));
}

TEST_F(GatewayHttp, a_connection_cut_at_every_byte_harms_nobody) {
  serve_fake();
  start_http();
  auto a = http_client("a", "fake");
  auto witness = http_client("b", "fake");
  const auto head = " /mcp/fake HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
                    "\r\nAuthorization: Bearer a.secret\r\nAccept: application/json, text/event-stream\r\n"
                    "Content-Type: application/json\r\nMcp-Session-Id: " +
                    a.session + "\r\n";
  const auto body = tool("cut", "echo", {{"x", 1}}).dump();
  int calls = 0;
  for (const auto& whole :
       {"POST" + head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
        "POST" + head + "Transfer-Encoding: chunked\r\n\r\n5\r\n" + body.substr(0, 5) + "\r\nffff\r\n" + body.substr(5),
        "GET" + head + "Last-Event-ID: 1-1\r\n\r\n"}) {
    for (std::size_t bytes = 0; bytes < whole.size() && !HasFailure(); ++bytes) {
      HttpPeer peer(loop, port);
      peer.send_raw(whole.substr(0, bytes));
      hal::test::run_ready(loop);
      if (bytes % 16 == 0) {
        ++calls;
        const auto answer = witness.ask(tool(calls, "echo", {{"call", calls}}));
        EXPECT_EQ(answer["id"], calls);
        EXPECT_EQ(answer["result"]["content"][0]["text"], "{\"call\": " + std::to_string(calls) + "}");
      }
    }
  }
  EXPECT_TRUE(a.ask(tool("after", "echo")).contains("result"));
  EXPECT_FALSE(exit.has_value());
}

TEST_F(GatewayHttp, sigterm_answers_what_is_open_and_exits_in_order) {
  serve_fake();
  start_http();
  auto a = http_client("a", "fake");
  const auto hanging = a.post(tool(1, "hang"));
  EXPECT_TRUE(a.ask(tool(2, "echo")).contains("result"));  // the one before has reached the server
  gateway->kill_group(SIGTERM);
  EXPECT_EQ(hanging->response().json()["error"]["message"], "server fake the gateway is stopping");
  ASSERT_TRUE(run_until(loop, [&] { return exit.has_value(); }));
  EXPECT_EQ(exit->code, 0);
}

}  // namespace
}  // namespace hal::hub::test
