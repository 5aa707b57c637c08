#include "http_endpoint_support.hpp"

#include <set>

/** The transport of revision 2024-11-05. */
namespace hal::http::test {
namespace {

class HttpSse : public Http {
 public:
  /** A stream, whose first event has told where to post. */
  std::unique_ptr<HttpPeer> open_stream(const std::string& server = "memory", const std::string& worker = "a") {
    auto stream = peer();
    stream->send("GET", "/sse/" + server, headers("", worker));
    const auto head = stream->head();
    EXPECT_EQ(head.status, 200U);
    EXPECT_EQ(head.header("content-type"), "text/event-stream");
    const auto first = stream->event().value_or(Event{});
    EXPECT_EQ(first.type, "endpoint");
    EXPECT_EQ(first.data.substr(0, 9), "/message/");
    EXPECT_EQ(first.data.size(), 9U + 32U);
    endpoint_path = first.data;
    return stream;
  }

  unsigned say(const Json& message, const std::string& worker = "a") {
    const auto one = peer();
    post(*one, "", message, endpoint_path, worker);
    return one->response().status;
  }

  static Json next(HttpPeer& stream) {
    const auto event = stream.event().value_or(Event{});
    EXPECT_EQ(event.id, "");  // nothing can be taken up again
    EXPECT_EQ(event.type, "");
    return Json::parse(event.data, nullptr, false);
  }

  /** A session that has shaken hands. */
  std::unique_ptr<HttpPeer> ready_stream(const std::string& revision = "2024-11-05") {
    auto stream = open_stream();
    EXPECT_EQ(say(initialize_request(revision)), 202U);
    if (process == nullptr) {
      process = &start_process("memory");
    }
    EXPECT_EQ(next(*stream)["result"]["protocolVersion"], revision);
    EXPECT_EQ(say(notification("notifications/initialized")), 202U);
    return stream;
  }

  std::string endpoint_path;
};

TEST_F(HttpSse, answers_come_on_the_stream) {
  const auto stream = ready_stream();
  EXPECT_EQ(say(request("x", "tools/call", {{"_meta", {{"progressToken", "t"}}}})), 202U);
  const auto call = process->next();
  process->send(notification("notifications/progress",
                             {{"progressToken", call["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
  process->answer(call, {{"ok", 1}});
  EXPECT_EQ(next(*stream)["params"]["progressToken"], "t");
  EXPECT_EQ(next(*stream), Json::parse(R"({"jsonrpc":"2.0","id":"x","result":{"ok":1}})"));
  process->send(notification("notifications/tools/list_changed"));
  EXPECT_EQ(next(*stream)["method"], "notifications/tools/list_changed");
}

TEST_F(HttpSse, the_end_of_the_stream_ends_the_session_at_once) {
  auto stream = ready_stream();
  EXPECT_EQ(say(request(1, "tools/call")), 202U);
  const auto call = process->next();
  stream->hang_up();
  const auto cancelled = process->next();
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["params"]["requestId"], call["id"]);
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return endpoint->sessions() == 0; }));
  EXPECT_EQ(hub->sessions(), 0U);
  EXPECT_EQ(say(request(2, "ping")), 404U);
}

TEST_F(HttpSse, a_session_is_of_no_use_to_another_worker) {
  const auto stream = ready_stream();
  EXPECT_EQ(say(request(1, "ping"), "b"), 404U);
  endpoint_path.back() = endpoint_path.back() == '0' ? '1' : '0';
  EXPECT_EQ(say(request(1, "ping")), 404U);
  EXPECT_TRUE(stream->silent());
}

TEST_F(HttpSse, has_the_checks_of_the_other_transport) {
  const auto stream = ready_stream();
  const auto status = [&](const std::string& method, const std::string& path, const Headers& all,
                          const std::string& body = "") {
    const auto one = peer();
    one->send(method, path, all, body);
    return one->head().status;
  };
  const auto with = [&](const std::string& name, const std::string& value) {
    Headers all = headers();
    std::erase_if(all, [&](const auto& header) { return header.first == name; });
    all.emplace_back(name, value);
    return all;
  };
  const auto ping = request(1, "ping").dump();
  EXPECT_EQ(status("GET", "/sse/memory", {}), 401U);
  EXPECT_EQ(status("GET", "/sse/memory", with("Authorization", "Bearer a.9")), 401U);
  EXPECT_EQ(status("GET", "/sse/memory", with("Host", "evil.example")), 403U);
  EXPECT_EQ(status("GET", "/sse/memory", with("Origin", "http://evil.example")), 403U);
  EXPECT_EQ(status("POST", endpoint_path, with("Host", "evil.example"), ping), 403U);
  EXPECT_EQ(status("POST", endpoint_path, with("Origin", "http://evil.example"), ping), 403U);
  EXPECT_EQ(status("GET", "/sse/memory", with("Accept", "application/json")), 406U);
  EXPECT_EQ(status("GET", "/sse/files", headers()), 404U);   // not this worker's
  EXPECT_EQ(status("GET", "/sse/nobody", headers()), 404U);  // nobody's
  EXPECT_EQ(status("GET", "/sse/memory/more", headers()), 404U);
  EXPECT_EQ(status("POST", "/message", headers(), ping), 404U);
  EXPECT_EQ(status("POST", "/sse/memory", headers(), ping), 405U);
  EXPECT_EQ(status("GET", endpoint_path, headers()), 405U);
  EXPECT_EQ(status("DELETE", endpoint_path, headers()), 405U);
  EXPECT_EQ(status("POST", endpoint_path, with("Content-Type", "text/plain"), ping), 415U);
  EXPECT_EQ(status("POST", endpoint_path, headers(), "{"), 400U);
  EXPECT_EQ(status("POST", endpoint_path, headers(), R"({"jsonrpc":"1.0"})"), 400U);
  EXPECT_EQ(status("POST", endpoint_path, with("MCP-Protocol-Version", "1999-01-01"), ping), 400U);
  EXPECT_EQ(status("POST", endpoint_path, with("MCP-Protocol-Version", "2024-11-05"), ping), 202U);
  EXPECT_EQ(next(*stream)["result"], Json::object());
  EXPECT_TRUE(stream->silent());
}

TEST_F(HttpSse, batches_exist_in_one_revision_only) {
  const auto old_stream = ready_stream();
  const Json batch = {request(1, "ping"), request(2, "ping"), notification("notifications/x")};
  EXPECT_EQ(say(batch), 400U);
  const auto stream = ready_stream("2025-03-26");
  EXPECT_EQ(say(batch), 202U);
  EXPECT_EQ(next(*stream)["id"], 1);
  EXPECT_EQ(next(*stream)["id"], 2);
  EXPECT_EQ(say(Json({request(3, "ping"), 7})), 400U);
  EXPECT_EQ(say(Json::array()), 400U);
}

TEST_F(HttpSse, sessions_of_a_worker_have_a_bound) {
  std::vector<std::unique_ptr<HttpPeer>> streams;
  for (std::size_t i = 0; i < hal::limits::sessions_per_worker; ++i) {
    streams.push_back(open_stream());
  }
  const auto one = peer();
  one->send("GET", "/sse/memory", headers());
  EXPECT_EQ(one->response().status, 429U);
  EXPECT_FALSE(open_stream("memory", "b") == nullptr);
}

TEST_F(HttpSse, the_end_of_a_worker_or_a_server_ends_its_streams) {
  const auto stream = ready_stream();
  hub->remove_server("memory");
  EXPECT_TRUE(stream->ends());
  add_server("memory");
  const auto other = open_stream();
  endpoint->remove_worker({"a"});
  hub->remove_worker({"a"});
  EXPECT_TRUE(other->ends());
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return endpoint->sessions() == 0; }));
}

TEST_F(HttpSse, a_client_that_does_not_read_slows_itself_only) {
  const auto stream = ready_stream();
  stream->pause();
  const std::string text(600'000, 'x');
  process->on_message = [&](const Json& asked) { process->answer(asked, {{"text", text}}); };
  std::vector<std::unique_ptr<HttpPeer>> posts;
  for (int i = 1; i <= 40; ++i) {
    posts.push_back(peer());
    post(*posts.back(), "", request(i, "tools/list"), endpoint_path);
  }
  auto quick_path = endpoint_path;
  const auto quick = ready_stream();
  EXPECT_EQ(say(request("q", "ping")), 202U);
  EXPECT_EQ(next(*quick)["id"], "q");
  stream->resume();
  std::set<int> ids;
  for (int i = 1; i <= 40; ++i) {
    ids.insert(next(*stream)["id"].get<int>());
  }
  EXPECT_EQ(ids.size(), 40U);
  for (auto& one : posts) {
    EXPECT_EQ(one->response().status, 202U);
  }
}

TEST_F(HttpSse, silent_streams_are_kept_alive) {
  make_endpoint({.keep_alive = std::chrono::milliseconds(20)});
  const auto stream = ready_stream();
  const auto comments = stream->comments;
  const auto since = loop.now();
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return loop.now() - since > std::chrono::milliseconds(100); }));
  EXPECT_EQ(say(request(1, "ping")), 202U);
  EXPECT_EQ(next(*stream)["id"], 1);
  EXPECT_GT(stream->comments, comments);
}

// All servers at one address, over both transports.

TEST_F(HttpSse, all_servers_are_at_the_path_without_a_name) {
  auto stream = open_stream("", "b");
  EXPECT_EQ(say(initialize_request(), "b"), 202U);
  EXPECT_EQ(next(*stream)["result"]["serverInfo"]["name"], "hal9000");
  EXPECT_EQ(say(request(1, "tools/call", {{"name", "memory__read"}}), "b"), 202U);
  auto& memory = start_process("memory");
  const auto call = memory.next();
  EXPECT_EQ(call["params"]["name"], "read");
  memory.answer(call, {{"ok", 1}});
  EXPECT_EQ(next(*stream)["result"]["ok"], 1);

  const auto one = peer();
  post(*one, "", initialize_request(), "/mcp", "b");
  const auto response = one->response();
  EXPECT_EQ(response.json()["result"]["serverInfo"]["name"], "hal9000");
  const auto session = response.header("mcp-session-id");
  post(*one, session, request(2, "tools/call", {{"name", "memory__write"}}), "/mcp", "b");
  const auto second = memory.next();
  EXPECT_EQ(second["params"]["name"], "write");
  memory.answer(second, {{"ok", 2}});
  EXPECT_EQ(one->response().json()["result"]["ok"], 2);
  post(*one, session, request(3, "ping"), "/mcp/memory", "b");
  EXPECT_EQ(one->response().status, 404U);  // the session is of all, not of one
}

}  // namespace
}  // namespace hal::http::test
