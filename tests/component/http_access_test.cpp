#include "http_endpoint_support.hpp"

namespace hal::http::test {
namespace {

// Who may come in.

TEST_F(Http, tells_a_worker_by_its_token) {
  for (const std::string value :
       {"", "Bearer", "Bearer a", "Bearer a.012345678", "Bearer a.01234567890", "Bearer b.x", "Basic a.0123456789",
        "Bearer .0123456789", "Bearer c.0123456789", "Bearer a.0123456788"}) {
    const auto one = peer();
    auto all = headers();
    all[0].second = value;
    one->send("POST", "/mcp/memory", all, initialize_request().dump());
    const auto response = one->response();
    EXPECT_EQ(response.status, 401U) << value;
    EXPECT_EQ(response.header("www-authenticate"), "Bearer realm=\"hal9000\"");
    EXPECT_TRUE(response.json()["error"].is_object()) << response.body;
  }
  const auto one = peer();
  one->send("GET", "/mcp/memory", {});
  EXPECT_EQ(one->response().status, 401U);
}

TEST_F(Http, serves_several_networks_and_in_a_workers_own_only_that_worker) {
  const auto session = open();
  const auto shared = port;
  std::uint16_t own = 0;
  ASSERT_TRUE(endpoint->listen("a's", listen_tcp(own), {"a"}).has_value());
  EXPECT_EQ(endpoint->networks(), (std::vector<std::string>{"a's", "n"}));
  const auto ping = [&](std::uint16_t at, const std::string& worker) {
    HttpPeer one(loop, at);
    post(one, session, request(1, "ping"), "/mcp/memory", worker);
    return one.response().status;
  };
  EXPECT_EQ(ping(own, "a"), 200U) << "the same session, by another way";
  EXPECT_EQ(ping(own, "b"), 401U) << "whose token is good elsewhere";
  EXPECT_EQ(ping(shared, "a"), 200U);
  HttpPeer one(loop, own);
  post(one, session, request(1, "ping"));
  EXPECT_EQ(one.response().status, 200U);
  endpoint->close("a's");
  EXPECT_TRUE(hal::test::run_until(loop, [&one] { return one.closed; }));
  EXPECT_EQ(endpoint->networks(), std::vector<std::string>{"n"});
  EXPECT_EQ(ping(shared, "a"), 200U);
}

TEST_F(Http, says_the_same_of_a_server_that_is_not_and_one_that_is_not_allowed) {
  std::vector<std::string> answers;
  for (const auto* path : {"/mcp/files", "/mcp/nosuch"}) {
    const auto one = peer();
    post(*one, "", initialize_request(), path);
    auto response = one->response();
    EXPECT_EQ(response.status, 404U);
    auto body = response.json();
    auto text = body["error"]["message"].get<std::string>();
    text.erase(text.find(path + 5), std::string(path + 5).size());
    answers.push_back(text + body["error"]["code"].dump());
  }
  EXPECT_EQ(answers[0], answers[1]);
}

TEST_F(Http, a_session_is_of_no_use_to_another_worker_or_at_another_server) {
  const auto session = open();
  const auto one = peer();
  post(*one, session, request(1, "tools/list"), "/mcp/memory", "b");
  EXPECT_EQ(one->response().status, 404U);
  post(*one, session, request(1, "tools/list"), "/mcp/files", "b");
  EXPECT_EQ(one->response().status, 404U);
}

TEST_F(Http, refuses_foreign_hosts_and_pages) {
  const std::pair<std::string, unsigned> hosts[] = {{"127.0.0.1:" + std::to_string(port), 400},
                                                    {"localhost:" + std::to_string(port), 400},
                                                    {"[::1]:" + std::to_string(port), 400},
                                                    {"LocalHost", 400},
                                                    {"evil.example:" + std::to_string(port), 403},
                                                    {"127.0.0.1:1", 403},
                                                    {"127.0.0.1.evil.example", 403}};
  for (const auto& [host, status] : hosts) {
    const auto one = peer();
    auto all = headers();
    all.emplace_back("Host", host);
    one->send("GET", "/mcp/memory", all);  // 400: a session is missing
    EXPECT_EQ(one->response().status, status) << host;
  }
  for (const auto& [origin, status] : {std::pair{"http://evil.example", 403U},
                                       {"null", 403U},
                                       {"http://localhost:3000", 400U},
                                       {"https://127.0.0.1", 400U}}) {
    const auto one = peer();
    auto all = headers();
    all.emplace_back("Origin", origin);
    one->send("GET", "/mcp/memory", all);
    EXPECT_EQ(one->response().status, status) << origin;
  }
}

// What a request must look like.

TEST_F(Http, answers_wrong_requests_by_their_status) {
  struct Case {
    const char* method;
    const char* path;
    std::pair<std::size_t, std::string> change;  ///< of headers(): index and value
    unsigned status;
  };
  const Case cases[] = {
      {"PUT", "/mcp/memory", {1, both_types}, 405},
      {"OPTIONS", "/mcp/memory", {1, both_types}, 405},
      {"GET", "/other", {1, both_types}, 404},
      {"GET", "/mcp/../x", {1, both_types}, 404},
      {"GET", "/mcp/memory", {1, "application/json"}, 406},
      {"POST", "/mcp/memory", {1, "text/html"}, 406},
      {"POST", "/mcp/memory", {2, "text/plain"}, 415},
      {"POST", "/mcp/memory", {2, "application/json; charset=latin1"}, 415},
  };
  for (const auto& one_case : cases) {
    const auto one = peer();
    auto all = headers();
    all[one_case.change.first].second = one_case.change.second;
    const bool is_post = std::string(one_case.method) == "POST";
    one->send(one_case.method, one_case.path, all, is_post ? initialize_request().dump() : "");
    const auto response = one->response();
    EXPECT_EQ(response.status, one_case.status) << one_case.method << one_case.path << one_case.change.second;
    EXPECT_EQ(response.header("allow"), one_case.status == 405 ? "POST, GET, DELETE" : "");
    EXPECT_EQ(response.header("cache-control"), "no-store");
  }
}

TEST_F(Http, answers_wrong_bodies_by_a_json_rpc_error) {
  const std::pair<const char*, int> bodies[] = {{"", -32700},
                                                {"{", -32700},
                                                {"\xff", -32700},
                                                {"{}", -32600},
                                                {"5", -32700},
                                                {"[]", -32600},
                                                {"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"x\"}", -32600}};
  const auto session = open();
  for (const auto& [body, code] : bodies) {
    const auto one = peer();
    one->send("POST", "/mcp/memory", headers(session), body);
    const auto response = one->response();
    EXPECT_EQ(response.status, 400U) << body;
    EXPECT_EQ(response.header("content-type"), "application/json");
    EXPECT_EQ(response.json()["error"]["code"], code) << body;
  }
}

TEST_F(Http, a_body_larger_than_a_message_is_refused_unread) {
  const auto one = peer();
  auto all = headers();
  all.emplace_back("Content-Length", std::to_string(limits::mcp_line_bytes + 1));
  one->send("POST", "/mcp/memory", all, "{");
  EXPECT_EQ(one->response().status, 413U);
}

TEST_F(Http, bodies_of_one_worker_have_a_bound_and_the_other_is_not_harmed) {
  std::vector<std::unique_ptr<HttpPeer>> slow;
  for (int i = 0; i < 3; ++i) {
    slow.push_back(peer());
    auto all = headers();
    all.emplace_back("Content-Length", std::to_string(limits::mcp_line_bytes));
    slow.back()->send("POST", "/mcp/memory", all, "{");
    hal::test::run_ready(loop);  // or they come in any order
  }
  const auto refused = slow[2]->response();
  EXPECT_EQ(refused.status, 503U);
  EXPECT_EQ(refused.header("retry-after"), "1");
  slow.clear();
  EXPECT_FALSE(open("2025-11-25", Json::object(), "/mcp/memory", "b").empty());
}

TEST_F(Http, a_head_larger_than_it_may_be_is_refused) {
  const auto one = peer();
  auto all = headers();
  all.emplace_back("X-Large", std::string(limits::connection_bytes, 'x'));
  one->send("GET", "/mcp/memory", all);
  EXPECT_EQ(one->head().status, 431U);
  EXPECT_EQ(answer_to("", request(1, "ping")).status, 400U);
}

TEST_F(Http, checks_the_revision_of_every_request) {
  const auto session = open();
  for (const auto& [revision, status] :
       {std::pair{"2025-11-25", 200U}, {"2025-06-18", 200U}, {"2025-03-26", 200U}, {"1999-01-01", 400U}, {"", 400U}}) {
    const auto one = peer();
    auto all = headers(session);
    all.back().second = revision;
    one->send("POST", "/mcp/memory", all, request(1, "ping").dump());
    EXPECT_EQ(one->response().status, status) << revision;
  }
}

TEST_F(Http, a_header_that_stands_twice_is_refused) {
  const auto one = peer();
  auto all = headers();
  all.emplace_back("Authorization", "Bearer b.0123456789");
  one->send("GET", "/mcp/memory", all);
  EXPECT_EQ(one->response().status, 400U);
}

}  // namespace
}  // namespace hal::http::test
