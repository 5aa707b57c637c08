#include "http_endpoint_support.hpp"

#include <fcntl.h>

#include <set>

namespace hal::http::test {
namespace {

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

TEST_F(Http, a_restarted_worker_is_not_charged_for_the_sessions_it_had_before) {
  (void)open();
  endpoint->remove_worker({"a"});
  hub->remove_worker({"a"});
  add_worker("a", {"memory"});  // at once, as its restart does
  endpoint->set_worker({"a"}, "a.0123456789");
  EXPECT_TRUE(hal::test::run_until(loop, [&] { return endpoint->sessions() == 0; }));
  for (std::size_t i = 0; i < hub::limits::sessions_per_worker; ++i) {
    EXPECT_FALSE(open().empty());
  }
  EXPECT_EQ(answer_to("", initialize_request()).status, 429U);
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
  one->send("POST", "/mcp/memory", headers(older), "[7]");
  EXPECT_EQ(one->response().status, 400U);
}

TEST_F(Http, a_socket_outlives_who_served_it_and_its_clients_wait) {
  const auto session = open();
  std::uint16_t kept_port = 0;
  const auto kept = listen_tcp(kept_port);
  const auto copy = [&] { return UniqueFd(::fcntl(kept.get(), F_DUPFD_CLOEXEC, 0)); };
  EXPECT_TRUE(endpoint->listen("n", copy()).has_value());
  port = kept_port;
  EXPECT_EQ(answer_to(session, request(1, "ping")).status, 200U);
  std::uint16_t other_port = 0;
  EXPECT_TRUE(endpoint->listen("n", listen_tcp(other_port)).has_value());
  const auto early = peer();
  post(*early, session, request(2, "ping"));
  hal::test::run_ready(loop);
  EXPECT_TRUE(early->silent());
  EXPECT_TRUE(endpoint->listen("n", copy()).has_value());
  EXPECT_EQ(early->response().json()["id"], 2);
}

}  // namespace
}  // namespace hal::http::test
