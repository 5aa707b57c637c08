// Revision 2026-07-28 over HTTP: the endpoint on a real hub and real sockets.
#include "http/endpoint.hpp"
#include "http_support.hpp"
#include "hub_modern_support.hpp"

#include <algorithm>

namespace hal::http {
namespace {

using hub::test::FakeProcess;
using hub::test::modern;
using hub::test::notification;
using hub::test::on_stream;
using hub::test::request;
using test::HttpPeer;
using test::Json;
using test::Response;
using Headers = HttpPeer::Headers;

class Stateless : public hub::test::ModernHub {
 public:
  Stateless() { make_endpoint({}); }
  ~Stateless() override { endpoint.reset(); }

  void make_endpoint(Times times) {
    endpoint.reset();
    endpoint = std::make_unique<Endpoint>(loop, *hub, times);
    endpoint->set_worker({"a"}, "a.0123456789");
    endpoint->set_worker({"b"}, "b.0123456789");
    ASSERT_TRUE(endpoint->listen("n", test::listen_tcp(port)).has_value());
  }

  std::unique_ptr<HttpPeer> peer() { return std::make_unique<HttpPeer>(loop, port); }

  static Headers headers(const Json& message, const std::string& worker = "a") {
    Headers all = {{"Authorization", "Bearer " + worker + ".0123456789"},
                   {"Accept", "application/json, text/event-stream"},
                   {"Content-Type", "application/json"},
                   {"MCP-Protocol-Version", "2026-07-28"},
                   {"Mcp-Method", message.value("method", "")}};
    const auto params = message.value("params", Json::object());
    if (params.contains("name")) {
      all.emplace_back("Mcp-Name", params["name"].get<std::string>());
    }
    return all;
  }

  std::unique_ptr<HttpPeer> post(const Json& message, const std::string& worker = "a") {
    auto one = peer();
    one->send("POST", "/mcp/s", headers(message, worker), message.dump());
    return one;
  }

  Response answer_to(const Json& message, const Headers& all) {
    const auto one = peer();
    one->send("POST", "/mcp/s", all, message.dump());
    return one->response();
  }

  /** The process, once a first request has been answered; it has no tools with headers. */
  FakeProcess& open() {
    const auto first = post(modern(0, "tools/call", {{"name", "t"}}));
    auto& process = modern_process();
    process.answer(process.next_of("tools/list"), {{"tools", tools}});
    process.answer(process.next_of("tools/call"), {{"resultType", "complete"}});
    EXPECT_EQ(first->response().status, 200U);
    return process;
  }

  std::uint16_t port = 0;
  std::unique_ptr<Endpoint> endpoint;
  Json tools = Json::array();
};

TEST_F(Stateless, requests_stand_for_themselves_and_may_use_the_same_ids_at_once) {
  auto& process = open();
  const auto one = post(modern(1, "tools/call", {{"name", "x"}, {"_meta", {{"progressToken", 1}}}}));
  const auto x = process.next();
  const auto other = post(modern(1, "tools/call", {{"name", "y"}, {"_meta", {{"progressToken", 1}}}}));
  const auto y = process.next();
  process.send(notification("notifications/progress",
                            {{"progressToken", y["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
  process.answer(y, {{"of", "y"}});
  process.answer(x, {{"of", "x"}});
  const auto json = one->response();
  EXPECT_EQ(json.header("content-type"), "application/json");
  EXPECT_EQ(json.header("mcp-session-id"), "");
  EXPECT_EQ(json.json()["result"]["of"], "x");
  EXPECT_EQ(json.json()["id"], 1);
  EXPECT_EQ(other->head().header("content-type"), "text/event-stream");
  const auto progress = other->event();
  ASSERT_TRUE(progress);
  EXPECT_EQ(progress->id, "");
  EXPECT_EQ(Json::parse(progress->data)["params"]["progressToken"], 1);
  EXPECT_EQ(Json::parse(other->event()->data)["result"]["of"], "y");
  EXPECT_TRUE(other->ends());
  EXPECT_EQ(endpoint->sessions(), 0U);
}

TEST_F(Stateless, large_messages_pass_both_ways) {
  auto& process = open();
  const std::string large = std::string(std::size_t{2} << 20, 'x') + std::string(std::size_t{1} << 20, 'y');
  const auto one = post(modern("call", "tools/call", {{"name", "x"}, {"arguments", {{"text", large}}}}));
  const auto asked = process.next();
  EXPECT_TRUE(asked["params"]["arguments"]["text"] == large);
  process.answer(asked, {{"text", large}});
  const auto answer = one->response().json();
  EXPECT_EQ(answer["id"], "call");
  EXPECT_TRUE(answer["result"]["text"] == large);
}

TEST_F(Stateless, closing_the_connection_cancels_streamed_or_not) {
  auto& process = open();
  const auto silent = post(modern(1, "tools/call", {{"name", "x"}}));
  const auto x = process.next();
  silent->hang_up();
  EXPECT_EQ(process.next()["params"]["requestId"], x["id"]);
  const auto streamed = post(modern(1, "tools/call", {{"name", "x"}, {"_meta", {{"progressToken", 1}}}}));
  const auto call = process.next();
  process.send(notification("notifications/progress", {{"progressToken", call["id"]}, {"progress", 1}}));
  EXPECT_TRUE(streamed->head().status == 200 && streamed->event());
  streamed->hang_up();
  const auto cancelled = process.next();
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["params"]["requestId"], call["id"]);
}

TEST_F(Stateless, a_stream_of_notifications_keeps_its_id_and_ends_with_the_process) {
  auto& process = open();
  const auto a = post(modern("s", "subscriptions/listen", {{"notifications", {{"toolsListChanged", true}}}}));
  const auto listen = process.next();
  process.send(on_stream(listen["id"], "notifications/subscriptions/acknowledged"));
  EXPECT_EQ(a->head().status, 200U);
  EXPECT_EQ(Json::parse(a->event()->data)["params"]["_meta"][hub::test::stream_key], "s");
  process.send(on_stream(listen["id"], "notifications/tools/list_changed"));
  EXPECT_EQ(Json::parse(a->event()->data)["params"]["_meta"][hub::test::stream_key], "s");
  const auto b = post(modern("t", "subscriptions/listen"));
  const auto other = process.next();
  process.send(notification("notifications/cancelled", {{"requestId", other["id"]}}));
  EXPECT_EQ(b->head().status, 200U);
  EXPECT_TRUE(b->ends());
  crash(process, "s", "exited with code 1");
  EXPECT_EQ(Json::parse(a->event()->data)["error"]["code"], -32603);
  EXPECT_TRUE(a->ends());
}

TEST_F(Stateless, headers_must_say_what_the_body_says) {
  const auto call = modern(3, "tools/call", {{"name", "x"}});
  const auto list = modern(3, "tools/list");
  const auto with = [](Headers all, const std::string& name, const std::string& value) {
    std::erase_if(all, [&](const auto& header) { return header.first == name; });
    if (!value.empty()) {
      all.emplace_back(name, value);
    }
    return all;
  };
  auto unversioned = list;
  unversioned["params"]["_meta"].erase(hub::test::version_key);
  auto incapable = list;
  incapable["params"]["_meta"].erase(hub::test::capabilities_key);
  auto later = list;
  later["params"]["_meta"][hub::test::version_key] = "2099-01-01";
  const struct {
    Json message;
    Headers headers;
    unsigned status;
    int code;
  } cases[] = {
      {list, with(headers(list), "Mcp-Method", "prompts/list"), 400, -32020},
      {list, with(headers(list), "Mcp-Method", ""), 400, -32020},
      {list, with(headers(list), "Mcp-Method", "TOOLS/LIST"), 400, -32020},
      {list, with(headers(list), "MCP-Protocol-Version", ""), 400, -32020},
      {list, with(headers(list), "MCP-Protocol-Version", "2025-11-25"), 400, -32020},
      {later, headers(later), 400, -32020},
      {later, with(headers(later), "MCP-Protocol-Version", "2099-01-01"), 400, -32022},
      {call, with(headers(call), "Mcp-Name", "y"), 400, -32020},
      {call, with(headers(call), "Mcp-Name", ""), 400, -32020},
      {call, with(headers(call), "Mcp-Name", "=?base64?eA?="), 400, -32020},
      {unversioned, headers(unversioned), 400, -32602},
      {incapable, headers(incapable), 400, -32602},
      {request(3, "tools/list"), headers(list), 400, -32602},
  };
  for (const auto& one : cases) {
    const auto response = answer_to(one.message, one.headers);
    EXPECT_EQ(response.status, one.status) << one.message;
    EXPECT_EQ(response.json()["error"]["code"], one.code) << one.message;
    EXPECT_EQ(response.json()["id"], 3);
  }
  EXPECT_TRUE(told<link::InstanceRequest>().empty());
  const auto encoded = peer();
  encoded->send("POST", "/mcp/s", with(headers(call), "Mcp-Name", "=?base64?eA==?="), call.dump());
  auto& process = modern_process();
  process.answer(process.next_of("tools/list"), {{"tools", Json::array()}});
  process.answer(process.next_of("tools/call"), {{"ok", true}});
  EXPECT_EQ(encoded->response().status, 200U);
}

TEST_F(Stateless, arguments_that_are_told_by_headers_are_compared) {
  tools = {{{"name", "sql"},
            {"inputSchema",
             {{"type", "object"},
              {"properties",
               {{"region", {{"type", "string"}, {"x-mcp-header", "Region"}}},
                {"deep", {{"properties", {{"n", {{"type", "integer"}, {"x-mcp-header", "N"}}}}}}}}}}}}};
  auto& process = open();
  const auto call =
      modern(3, "tools/call", {{"name", "sql"}, {"arguments", {{"region", "us w\u00e9st"}, {"deep", {{"n", 42}}}}}});
  const struct {
    std::string region;
    std::string n;
    bool fits;
  } cases[] = {{"=?base64?dXMgd8Opc3Q=?=", "42", true},
               {"=?base64?dXMgd8Opc3Q=?=", "42.0", true},
               {"", "42", false},
               {"us west", "42", false},
               {"=?base64?dXMgd8Opc3Q?=", "42", false},
               {"=?base64?dXMgd8Opc3Q=?=", "43", false},
               {"=?base64?dXMgd8Opc3Q=?=", "", false}};
  for (const auto& one : cases) {
    auto all = headers(call);
    if (!one.region.empty()) {
      all.emplace_back("mcp-param-region", one.region);
    }
    if (!one.n.empty()) {
      all.emplace_back("Mcp-Param-N", one.n);
    }
    const auto asked = peer();
    asked->send("POST", "/mcp/s", all, call.dump());
    if (one.fits) {
      process.answer(process.next(), {{"ok", true}});
    }
    const auto response = asked->response();
    EXPECT_EQ(response.status, one.fits ? 200U : 400U) << one.region << " " << one.n;
    if (!one.fits) {
      EXPECT_EQ(response.json()["error"]["code"], -32020);
    }
  }
  const auto absent = post(modern(4, "tools/call", {{"name", "sql"}, {"arguments", {{"region", nullptr}}}}));
  process.answer(process.next(), {{"ok", true}});
  EXPECT_EQ(absent->response().status, 200U);
}

TEST_F(Stateless, errors_have_the_status_that_the_revision_gives_them) {
  auto& process = open();
  const std::pair<int, unsigned> codes[] = {{-32601, 404}, {-32021, 400}, {-32022, 400}, {-32602, 200}, {-32603, 200}};
  for (const auto& [code, status] : codes) {
    const auto asked = post(modern(1, "x/y"));
    process.send({{"jsonrpc", "2.0"}, {"id", process.next()["id"]}, {"error", {{"code", code}, {"message", "m"}}}});
    const auto response = asked->response();
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(response.json()["error"]["code"], code);
  }
}

TEST_F(Stateless, what_the_revision_does_not_have_is_refused) {
  const auto list = modern(1, "tools/list");
  for (const auto* method : {"GET", "DELETE"}) {
    const auto one = peer();
    auto all = headers(list);
    all.emplace_back("Mcp-Session-Id", "0123");
    one->send(method, "/mcp/s", all);
    const auto response = one->response();
    EXPECT_EQ(response.status, 405U);
    EXPECT_EQ(response.header("allow"), "POST");
  }
  EXPECT_EQ(answer_to(notification("notifications/cancelled"), headers(list)).status, 202U);
  EXPECT_EQ(answer_to({{"jsonrpc", "2.0"}, {"id", 1}, {"result", Json::object()}}, headers(list)).status, 400U);
  EXPECT_EQ(answer_to(Json::array({list}), headers(list)).status, 400U);
  auto unknown = headers(request(1, "tools/list"));
  for (auto& [name, value] : unknown) {
    value = name == "MCP-Protocol-Version" ? "1999-01-01" : value;
  }
  EXPECT_EQ(answer_to(request(1, "tools/list"), unknown).json()["error"]["code"], -32600);
  const auto nowhere = peer();
  nowhere->send("POST", "/mcp/other", headers(list), list.dump());
  EXPECT_EQ(nowhere->response().status, 404U);
}

TEST_F(Stateless, a_log_message_goes_to_the_only_request_that_wants_one) {
  auto& process = open();
  const auto plain = post(modern(1, "tools/call", {{"name", "x"}}));
  const auto x = process.next();
  const auto wanting = post(modern(2, "tools/call", {{"name", "y"}, {"_meta", {{hub::test::level_key, "info"}}}}));
  const auto y = process.next();
  process.send(notification("notifications/message", {{"level", "info"}, {"data", "d"}}));
  process.answer(x, {{"of", "x"}});
  process.answer(y, {{"of", "y"}});
  EXPECT_EQ(plain->response().header("content-type"), "application/json");
  EXPECT_EQ(wanting->head().status, 200U);
  EXPECT_EQ(Json::parse(wanting->event()->data)["params"]["data"], "d");
  EXPECT_EQ(Json::parse(wanting->event()->data)["result"]["of"], "y");
}

TEST_F(Stateless, a_legacy_server_is_translated_and_its_questions_are_retried) {
  const Json able = {{"roots", Json::object()}};
  const auto first = post(modern(1, "tools/call", {{"name", "t"}}, able));
  auto& process = legacy_process();
  process.answer(process.next_of("tools/list"), {{"tools", Json::array()}});
  const auto call = process.next_of("tools/call");
  process.send(request("q", "roots/list"));
  const auto required = first->response().json()["result"];
  ASSERT_EQ(required["resultType"], "input_required");
  const auto retry =
      post(modern(1, "tools/call",
                  {{"name", "t"},
                   {"requestState", required["requestState"]},
                   {"inputResponses", {{required["inputRequests"].begin().key(), {{"roots", Json::array()}}}}}},
                  able));
  EXPECT_EQ(process.next()["result"]["roots"], Json::array());
  process.answer(call, {{"content", Json::array()}});
  EXPECT_EQ(retry->response().json()["result"]["resultType"], "complete");
}

TEST_F(Stateless, what_nobody_uses_is_forgotten_and_what_is_silent_gets_comments) {
  Times times;
  times.keep_alive = std::chrono::milliseconds(20);
  times.session_idle = std::chrono::milliseconds(100);
  make_endpoint(times);
  auto& process = open();
  const auto slow = post(modern(1, "tools/call", {{"name", "x"}}));
  const auto call = process.next();
  EXPECT_EQ(slow->head().header("content-type"), "text/event-stream");
  process.answer(call, {{"ok", true}});
  EXPECT_TRUE(slow->event());
  ASSERT_TRUE(hal::test::run_until(loop, [&] { return hub->sessions() == 0; }));
  const auto again = post(modern(1, "tools/list"));
  process.answer(process.next_of("tools/list"), {{"tools", Json::array()}});
  EXPECT_EQ(again->response().status, 200U);
}

TEST_F(Stateless, a_worker_that_is_removed_has_its_requests_answered) {
  auto& process = open();
  const auto asked = post(modern(1, "tools/call", {{"name", "x"}}));
  (void)process.next();
  hub->remove_worker({"a"});
  endpoint->remove_worker({"a"});
  EXPECT_EQ(asked->response().json()["error"]["code"], -32603);
}

}  // namespace
}  // namespace hal::http
