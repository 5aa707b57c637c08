#include "http_endpoint_support.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <set>

namespace hal::http::test {
namespace {

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
  const std::string large = std::string(std::size_t{2} << 20, 'x') + std::string(std::size_t{1} << 20, 'y');
  for (const bool as_event : {false, true}) {
    const auto one = peer();
    auto call = request(1, "tools/call", {{"text", large}});
    call["params"]["_meta"]["progressToken"] = 1;
    post(*one, session, call);
    const auto asked = process->next_of("tools/call");
    EXPECT_TRUE(asked["params"]["text"] == large);
    if (as_event) {
      process->send(notification("notifications/progress",
                                 {{"progressToken", asked["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
    }
    process->answer(asked, {{"text", large}});
    if (!as_event) {
      EXPECT_TRUE(one->response().json()["result"]["text"] == large);
      continue;
    }
    (void)one->head();
    priming(*one);
    (void)one->event();
    EXPECT_TRUE(Json::parse(one->event()->data)["result"]["text"] == large);
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
}  // namespace hal::http::test
