#include "http/endpoint.hpp"
#include "http_support.hpp"
#include "hub_support.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <set>

/** The endpoint on a real hub and real sockets; the test plays the HTTP client and the server's process. */
namespace hal::http {
namespace {

using hub::test::FakeProcess;
using test::Event;
using test::HttpPeer;
using test::Json;
using test::Response;
using Headers = HttpPeer::Headers;

const char both_types[] = "application/json, text/event-stream";

Json request(const Json& id, const std::string& method, const Json& params = Json::object()) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}};
}

Json notification(const std::string& method, const Json& params = Json::object()) {
  return {{"jsonrpc", "2.0"}, {"method", method}, {"params", params}};
}

Json initialize_request(const std::string& revision = "2025-11-25", const Json& capabilities = Json::object()) {
  return request(0, "initialize",
                 {{"protocolVersion", revision},
                  {"capabilities", capabilities},
                  {"clientInfo", {{"name", "test"}, {"version", "1"}}}});
}

class Http : public hub::test::HubTest {
 public:
  Http() {
    add_worker("a", {"memory"});
    add_worker("b", {"memory", "files"});
    add_server("memory");
    add_server("files", link::ServerMode::session);
    make_endpoint({});
  }
  ~Http() override { endpoint.reset(); }

  void make_endpoint(Times times) {
    endpoint.reset();
    endpoint = std::make_unique<Endpoint>(loop, *hub, times);
    endpoint->set_worker({"a"}, "a.0123456789");
    endpoint->set_worker({"b"}, "b.0123456789");
    EXPECT_TRUE(endpoint->listen(test::listen_tcp(port)).has_value());
  }

  std::unique_ptr<HttpPeer> peer() { return std::make_unique<HttpPeer>(loop, port); }

  static Headers headers(const std::string& session = "", const std::string& worker = "a") {
    Headers all = {{"Authorization", "Bearer " + worker + ".0123456789"},
                   {"Accept", both_types},
                   {"Content-Type", "application/json"}};
    if (!session.empty()) {
      all.emplace_back("Mcp-Session-Id", session);
      all.emplace_back("MCP-Protocol-Version", "2025-11-25");
    }
    return all;
  }

  static void post(HttpPeer& peer, const std::string& session, const Json& message,
                   const std::string& path = "/mcp/memory", const std::string& worker = "a") {
    peer.send("POST", path, headers(session, worker), message.dump());
  }

  Response answer_to(const std::string& session, const Json& message) {
    const auto one = peer();
    post(*one, session, message);
    return one->response();
  }

  /** A session that is initialized; the first one starts the process. */
  std::string open(const std::string& revision = "2025-11-25", const Json& capabilities = Json::object(),
                   const std::string& path = "/mcp/memory", const std::string& worker = "a") {
    const auto one = peer();
    post(*one, "", initialize_request(revision, capabilities), path, worker);
    const bool needs_process = path != "/mcp/memory" || process == nullptr;
    if (needs_process) {
      process = &start_process(path.substr(5));
    }
    const auto response = one->response();
    EXPECT_EQ(response.status, 200U) << response.body;
    EXPECT_EQ(response.json()["result"]["protocolVersion"], revision);
    const auto session = response.header("mcp-session-id");
    post(*one, session, notification("notifications/initialized"), path, worker);
    EXPECT_EQ(one->response().status, 202U);
    return session;
  }

  /** Opens the stream of what belongs to no request. */
  std::unique_ptr<HttpPeer> listen(const std::string& session, const std::string& last_event = "") {
    auto one = peer();
    auto all = headers(session);
    if (!last_event.empty()) {
      all.emplace_back("Last-Event-ID", last_event);
    }
    one->send("GET", "/mcp/memory", all);
    const auto head = one->head();
    EXPECT_EQ(head.status, 200U);
    EXPECT_EQ(head.header("content-type"), "text/event-stream");
    return one;
  }

  /** The first event: where to come back to, and when. */
  static Event priming(HttpPeer& stream) {
    auto event = stream.event().value_or(Event{});
    EXPECT_FALSE(event.id.empty());
    EXPECT_TRUE(event.has_data && event.data.empty());
    EXPECT_EQ(event.retry, "1000");
    return event;
  }

  std::uint16_t port = 0;
  std::unique_ptr<Endpoint> endpoint;
  FakeProcess* process = nullptr;
};

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

// Sessions.

TEST_F(Http, opens_uses_and_ends_a_session) {
  const auto session = open();
  EXPECT_EQ(session.size(), 32U);
  const auto one = peer();
  post(*one, session, request("x", "tools/list"));
  const auto asked = process->next_of("tools/list");
  process->answer(asked, {{"tools", Json::array()}});
  const auto response = one->response();
  EXPECT_EQ(response.status, 200U);
  EXPECT_EQ(response.header("content-type"), "application/json");
  EXPECT_EQ(response.json(), Json::parse(R"({"jsonrpc":"2.0","id":"x","result":{"tools":[]}})"));

  one->send("DELETE", "/mcp/memory", headers(session));
  EXPECT_EQ(one->response().status, 204U);
  for (const auto* method : {"DELETE", "GET", "POST"}) {
    one->send(method, "/mcp/memory", headers(session), method[0] == 'P' ? request(1, "ping").dump() : "");
    const auto gone = one->response();
    EXPECT_EQ(gone.status, 404U);
    EXPECT_EQ(gone.json()["error"]["code"], -32001);
  }
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return endpoint->sessions() == 0; }));
  EXPECT_EQ(hub->sessions(), 0U);
}

TEST_F(Http, a_session_id_is_needed_and_must_be_known) {
  EXPECT_EQ(answer_to("", request(1, "tools/list")).status, 400U);
  EXPECT_EQ(answer_to("0123", request(1, "tools/list")).status, 404U);
  const auto one = peer();
  one->send("DELETE", "/mcp/memory", headers());
  EXPECT_EQ(one->response().status, 400U);
}

TEST_F(Http, a_refused_initialize_leaves_no_session) {
  const auto one = peer();
  post(*one, "", request(0, "initialize", {{"protocolVersion", 5}}));
  const auto response = one->response();
  EXPECT_EQ(response.status, 200U);
  EXPECT_EQ(response.json()["error"]["code"], -32602);
  EXPECT_EQ(response.header("mcp-session-id"), "");
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return endpoint->sessions() == 0; }));
}

TEST_F(Http, the_sessions_of_a_worker_have_a_bound) {
  std::set<std::string> ids;
  for (std::size_t i = 0; i < hub::limits::sessions_per_worker; ++i) {
    ids.insert(open());
  }
  EXPECT_EQ(ids.size(), hub::limits::sessions_per_worker);
  const auto refused = answer_to("", initialize_request());
  EXPECT_EQ(refused.status, 429U);
  EXPECT_FALSE(open("2025-11-25", Json::object(), "/mcp/memory", "b").empty());
}

TEST_F(Http, the_end_of_a_worker_ends_its_sessions_and_streams) {
  const auto session = open();
  const auto stream = listen(session);
  priming(*stream);
  endpoint->remove_worker({"a"});
  hub->remove_worker({"a"});
  EXPECT_TRUE(stream->ends());
  EXPECT_EQ(answer_to(session, request(1, "ping")).status, 401U);
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return endpoint->sessions() == 0; }));
}

TEST_F(Http, what_is_open_is_answered_when_the_hub_shuts_down) {
  const auto session = open();
  const auto one = peer();
  post(*one, session, request(1, "tools/call"));
  (void)process->next_of("tools/call");
  bool idle = false;
  hub->shut_down("stopping", [&] { idle = true; });
  EXPECT_NE(one->response().json()["error"]["message"].dump().find("stopping"), std::string::npos);
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return idle; }));
}

TEST_F(Http, an_id_in_flight_is_not_taken_twice) {
  const auto session = open();
  const auto one = peer();
  post(*one, session, request(1, "tools/call"));
  const auto asked = process->next_of("tools/call");
  const auto refused = answer_to(session, request(1, "tools/call"));
  EXPECT_EQ(refused.status, 400U);
  EXPECT_EQ(refused.json()["error"]["code"], -32600);
  process->answer(asked, {{"n", 1}});
  EXPECT_EQ(one->response().json()["result"]["n"], 1);
}

TEST_F(Http, a_message_may_be_spread_over_lines) {
  const auto session = open();
  const auto one = peer();
  one->send("POST", "/mcp/memory", headers(session), request(1, "tools/call", {{"a", "b\nc"}}).dump(2) + "\r\n");
  const auto asked = process->next_of("tools/call");
  EXPECT_EQ(asked["params"]["a"], "b\nc");
  process->answer(asked, {{"n", 1}});
  EXPECT_EQ(one->response().json()["id"], 1);
}

TEST_F(Http, batches_exist_in_one_revision_only) {
  const auto batch = Json::array({request(1, "tools/list"), notification("notifications/x"), request(2, "ping")});
  const auto newer = open();
  EXPECT_EQ(answer_to(newer, batch).status, 400U);
  const auto older = open("2025-03-26");
  const auto one = peer();
  one->send("POST", "/mcp/memory", headers(older), batch.dump());
  const auto asked = process->next_of("tools/list");
  process->answer(asked, {{"tools", Json::array()}});
  EXPECT_EQ(one->head().header("content-type"), "text/event-stream");
  std::set<int> answered;
  while (const auto event = one->event()) {
    if (event->has_data) {
      answered.insert(Json::parse(event->data)["id"].get<int>());
    }
    if (answered.size() == 2) {
      break;
    }
  }
  EXPECT_EQ(answered, (std::set<int>{1, 2}));
  EXPECT_TRUE(one->ends());
  one->send("POST", "/mcp/memory", headers(older), Json::array({notification("notifications/x")}).dump());
  EXPECT_EQ(one->response().status, 202U);
}

TEST_F(Http, a_socket_outlives_who_served_it_and_its_clients_wait) {
  const auto session = open();
  std::uint16_t kept_port = 0;
  const auto kept = test::listen_tcp(kept_port);
  const auto copy = [&] { return UniqueFd(::fcntl(kept.get(), F_DUPFD_CLOEXEC, 0)); };
  EXPECT_TRUE(endpoint->listen(copy()).has_value());
  port = kept_port;
  EXPECT_EQ(answer_to(session, request(1, "ping")).status, 200U);
  std::uint16_t other_port = 0;
  EXPECT_TRUE(endpoint->listen(test::listen_tcp(other_port)).has_value());
  const auto early = peer();
  post(*early, session, request(2, "ping"));
  hal::test::run_ready(loop);
  EXPECT_TRUE(early->silent());
  EXPECT_TRUE(endpoint->listen(copy()).has_value());
  EXPECT_EQ(early->response().json()["id"], 2);
}

// Streams.

TEST_F(Http, an_answer_is_a_stream_once_something_else_comes_first) {
  const auto session = open();
  const auto one = peer();
  auto call = request(7, "tools/call");
  call["params"]["_meta"]["progressToken"] = "mine";
  post(*one, session, call);
  const auto asked = process->next_of("tools/call");
  for (int step = 1; step <= 2; ++step) {
    process->send(notification("notifications/progress",
                               {{"progressToken", asked["params"]["_meta"]["progressToken"]}, {"progress", step}}));
  }
  process->answer(asked, {{"n", 1}});
  const auto head = one->head();
  EXPECT_EQ(head.header("content-type"), "text/event-stream");
  EXPECT_EQ(head.header("x-accel-buffering"), "no");
  EXPECT_EQ(head.header("cache-control"), "no-store");
  priming(*one);
  for (int step = 1; step <= 2; ++step) {
    const auto progress = Json::parse(one->event()->data);
    EXPECT_EQ(progress["params"]["progressToken"], "mine");
    EXPECT_EQ(progress["params"]["progress"], step);
  }
  EXPECT_EQ(Json::parse(one->event()->data)["id"], 7);
  EXPECT_TRUE(one->ends());
  EXPECT_FALSE(one->closed);
}

TEST_F(Http, older_clients_get_no_event_without_data) {
  const auto session = open("2025-06-18");
  const auto stream = listen(session);
  process->send(notification("notifications/tools/list_changed"));
  auto event = stream->event();
  ASSERT_TRUE(event);
  EXPECT_FALSE(event->has_data);  // retry only
  event = stream->event();
  EXPECT_EQ(Json::parse(event->data)["method"], "notifications/tools/list_changed");
}

TEST_F(Http, what_belongs_to_no_request_waits_for_its_stream_and_comes_once) {
  const auto session = open();
  process->send(notification("notifications/tools/list_changed"));
  const auto stream = listen(session);
  priming(*stream);
  EXPECT_EQ(Json::parse(stream->event()->data)["method"], "notifications/tools/list_changed");
  hal::test::run_ready(loop);
  const auto second = listen(session);
  EXPECT_TRUE(stream->ends());
  priming(*second);
  process->send(notification("notifications/tools/list_changed"));
  EXPECT_TRUE(second->event()->has_data);
  EXPECT_TRUE(second->silent());
}

TEST_F(Http, a_broken_stream_is_taken_up_where_it_broke) {
  const auto session = open();
  auto one = peer();
  auto call = request("long", "tools/call");
  call["params"]["_meta"]["progressToken"] = 5;
  post(*one, session, call);
  const auto asked = process->next_of("tools/call");
  const auto progress = [&](int step) {
    process->send(notification("notifications/progress",
                               {{"progressToken", asked["params"]["_meta"]["progressToken"]}, {"progress", step}}));
  };
  progress(1);
  (void)one->head();
  priming(*one);
  const auto first = *one->event();
  progress(2);
  EXPECT_TRUE(one->event());
  one->hang_up();
  progress(3);
  process->answer(asked, {{"n", 1}});
  hal::test::run_ready(loop);

  const auto standing = listen(session);
  priming(*standing);
  auto again = listen(session, first.id);
  (void)again->event();
  std::set<std::string> ids{first.id};
  for (int step = 2; step <= 3; ++step) {
    const auto event = *again->event();
    EXPECT_TRUE(ids.insert(event.id).second);
    EXPECT_EQ(Json::parse(event.data)["params"]["progress"], step);
  }
  EXPECT_EQ(Json::parse(again->event()->data)["id"], "long");
  EXPECT_TRUE(again->ends());
  EXPECT_TRUE(standing->silent());
}

TEST_F(Http, an_event_that_never_was_is_no_place_to_go_on_from) {
  const auto session = open();
  for (const std::string id : {"1-1", "0-7", "x", "99-0", "-", "18446744073709551616-1"}) {
    const auto one = peer();
    auto all = headers(session);
    all.emplace_back("Last-Event-ID", id);
    one->send("GET", "/mcp/memory", all);
    EXPECT_EQ(one->response().status, 400U) << id;
  }
}

TEST_F(Http, a_client_that_goes_away_cancels_nothing) {
  const auto session = open();
  auto one = peer();
  post(*one, session, request(1, "tools/call"));
  const auto asked = process->next_of("tools/call");
  one->hang_up();
  EXPECT_EQ(answer_to(session, request(2, "ping")).status, 200U);
  EXPECT_TRUE(process->lines.empty());
  process->answer(asked, {{"n", 1}});
  EXPECT_EQ(answer_to(session, request(1, "ping")).status, 200U);
}

TEST_F(Http, who_waits_for_what_was_cancelled_is_let_go) {
  const auto session = open();
  for (int i = 1; i <= 100; ++i) {  // more than a session may have open
    const auto one = peer();
    auto all = headers(session);
    const bool takes_events = i % 2 == 0;
    all[1].second = takes_events ? both_types : "application/json";
    one->send("POST", "/mcp/memory", all, request(i, "tools/call").dump());
    const auto asked = process->next_of("tools/call");
    EXPECT_EQ(answer_to(session, notification("notifications/cancelled", {{"requestId", i}})).status, 202U);
    EXPECT_EQ(process->next_of("notifications/cancelled")["params"]["requestId"], asked["id"]);
    const auto head = one->head();
    ASSERT_EQ(head.status, takes_events ? 200U : 202U) << head.body;
    if (takes_events) {
      priming(*one);
      EXPECT_TRUE(one->ends());
    }
  }
  const auto gone = peer();
  post(*gone, session, request("gone", "tools/call"));
  (void)process->next_of("tools/call");
  gone->hang_up();
  EXPECT_EQ(answer_to(session, notification("notifications/cancelled", {{"requestId", "gone"}})).status, 202U);
  EXPECT_EQ(answer_to(session, request("gone", "ping")).status, 200U);
}

TEST_F(Http, the_end_of_a_session_cancels_what_is_open) {
  const auto session = open();
  const auto call = peer();
  post(*call, session, request(1, "tools/call"));
  const auto asked = process->next_of("tools/call");
  const auto one = peer();
  one->send("DELETE", "/mcp/memory", headers(session));
  EXPECT_EQ(one->response().status, 204U);
  EXPECT_EQ(process->next_of("notifications/cancelled")["params"]["requestId"], asked["id"]);
  EXPECT_EQ(call->response().status, 404U);
}

TEST_F(Http, a_question_comes_on_the_stream_of_the_call_it_belongs_to) {
  const auto session = open("2025-11-25", {{"elicitation", Json::object()}});
  const auto standing = listen(session);
  priming(*standing);
  const auto one = peer();
  post(*one, session, request(1, "tools/call"));
  const auto asked = process->next_of("tools/call");
  process->send(request("q", "elicitation/create", {{"message", "?"}}));
  (void)one->head();
  priming(*one);
  const auto question = Json::parse(one->event()->data);
  EXPECT_EQ(question["method"], "elicitation/create");
  const auto other = peer();
  post(*other, session, {{"jsonrpc", "2.0"}, {"id", question["id"]}, {"result", {{"action", "accept"}}}});
  EXPECT_EQ(other->response().status, 202U);
  EXPECT_EQ(process->next()["id"], "q");
  process->answer(asked, {{"n", 1}});
  EXPECT_EQ(Json::parse(one->event()->data)["id"], 1);
  EXPECT_TRUE(standing->silent());
}

TEST_F(Http, a_client_of_json_only_gets_json) {
  const auto session = open();
  const auto one = peer();
  auto all = headers(session);
  all[1].second = "application/json";
  auto call = request(1, "tools/call");
  call["params"]["_meta"]["progressToken"] = 5;
  one->send("POST", "/mcp/memory", all, call.dump());
  const auto asked = process->next_of("tools/call");
  process->send(notification("notifications/progress",
                             {{"progressToken", asked["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
  process->answer(asked, {{"n", 1}});
  const auto response = one->response();
  EXPECT_EQ(response.header("content-type"), "application/json");
  EXPECT_EQ(response.json()["id"], 1);
}

TEST_F(Http, a_large_message_passes_as_json_and_as_an_event) {
  const auto session = open();
  const std::string large(std::size_t{3} << 20, 'x');
  for (const bool as_event : {false, true}) {
    const auto one = peer();
    auto call = request(1, "tools/call", {{"text", large}});
    call["params"]["_meta"]["progressToken"] = 1;
    post(*one, session, call);
    const auto asked = process->next_of("tools/call");
    EXPECT_EQ(asked["params"]["text"].get<std::string>().size(), large.size());
    if (as_event) {
      process->send(notification("notifications/progress",
                                 {{"progressToken", asked["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
    }
    process->answer(asked, {{"text", large}});
    if (!as_event) {
      EXPECT_EQ(one->response().json()["result"]["text"].get<std::string>().size(), large.size());
      continue;
    }
    (void)one->head();
    priming(*one);
    (void)one->event();
    EXPECT_EQ(Json::parse(one->event()->data)["result"]["text"].get<std::string>().size(), large.size());
    EXPECT_TRUE(one->ends());
  }
}

TEST_F(Http, a_client_that_does_not_read_slows_itself_only) {
  const auto session = open();
  const auto stream = listen(session);
  priming(*stream);
  stream->pause();
  auto one = peer();
  auto call = request(1, "tools/call");
  call["params"]["_meta"]["progressToken"] = 5;
  post(*one, session, call);
  const auto asked = process->next_of("tools/call");
  one->pause();
  const std::string large(std::size_t{1} << 20, 'x');
  for (int i = 0; i < 24; ++i) {
    process->send(notification("notifications/progress",
                               {{"progressToken", asked["params"]["_meta"]["progressToken"]}, {"message", large}}));
  }
  hal::test::run_ready(loop);
  // Its own requests wait; the other session's do not.
  const auto waiting = peer();
  post(*waiting, session, request(2, "ping"));
  const auto other = open("2025-11-25", Json::object(), "/mcp/memory", "b");
  EXPECT_FALSE(other.empty());
  one->resume();
  EXPECT_EQ(waiting->response().json()["id"], 2);
}

// Time.

class HttpInTime : public Http {
 public:
  HttpInTime() {
    make_endpoint({.keep_alive = std::chrono::milliseconds(50),
                   .session_idle = std::chrono::milliseconds(300),
                   .stream_kept = std::chrono::milliseconds(300),
                   .late_check = std::chrono::milliseconds(50)});
  }
};

TEST_F(HttpInTime, a_connection_that_is_closed_with_its_last_bytes_is_not_kept) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const std::string request =
      "POST /mcp/memory HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
      "\r\nAuthorization: Bearer a.0123456789\r\nContent-Type: application/json\r\nAccept: " + both_types +
      "\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\":";
  const auto before = hal::test::open_fds();
  for (int i = 0; i < 10; ++i) {
    const UniqueFd one(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(one.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::send(one.get(), request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  }
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return hal::test::open_fds() == before; }));
}

TEST_F(HttpInTime, silent_streams_are_kept_alive_and_keep_their_session) {
  const auto session = open();
  const auto stream = listen(session);
  priming(*stream);
  const auto since = loop.now();
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return loop.now() - since > std::chrono::milliseconds(500); }));
  process->send(notification("notifications/tools/list_changed"));
  EXPECT_TRUE(stream->event());
  EXPECT_GE(stream->comments, 2U);
  EXPECT_EQ(answer_to(session, request(1, "ping")).status, 200U);
}

TEST_F(HttpInTime, a_slow_answer_becomes_a_stream) {
  const auto session = open();
  const auto one = peer();
  post(*one, session, request(1, "tools/call"));
  const auto asked = process->next_of("tools/call");
  EXPECT_EQ(one->head().header("content-type"), "text/event-stream");
  priming(*one);
  process->answer(asked, {{"n", 1}});
  EXPECT_EQ(Json::parse(one->event()->data)["id"], 1);
}

TEST_F(HttpInTime, a_session_that_nobody_uses_ends_also_when_its_stream_broke) {
  const auto idle = open();
  const auto broken = open();
  {
    const auto stream = listen(broken);
    priming(*stream);
  }
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return endpoint->sessions() == 0; }));
  EXPECT_EQ(hub->sessions(), 0U);
  EXPECT_EQ(answer_to(idle, request(1, "ping")).status, 404U);
}

}  // namespace
}  // namespace hal::http
