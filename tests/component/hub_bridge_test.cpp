// Clients of revision 2026-07-28 at servers of older ones.
#include "hub_modern_support.hpp"

#include <algorithm>

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

class Bridge : public EitherMode {
 public:
  /** A client, and the process that it uses after the first request. */
  FakeProcess& begin(RelayPeer& peer, const Json& first) {
    peer.send(first);
    auto& process = legacy_process();
    process.capabilities = server_capabilities;
    return process;
  }

  Json server_capabilities = {{"tools", {{"listChanged", true}}},
                              {"prompts", Json::object()},
                              {"resources", {{"subscribe", true}}},
                              {"logging", Json::object()},
                              {"tasks", Json::object()}};
  const Json asking = {{"elicitation", Json::object()}, {"sampling", Json::object()}, {"roots", Json::object()}};
};

INSTANTIATE_TEST_SUITE_P(Modes, Bridge, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

TEST_P(Bridge, discover_is_answered_from_the_handshake) {
  auto a = client("a");
  auto& process = begin(*a, modern("d", "server/discover", {}, {{"sampling", Json::object()}}));
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], "d");
  const auto& result = answer["result"];
  EXPECT_EQ(result["resultType"], "complete");
  EXPECT_EQ(result["supportedVersions"], Json({"2026-07-28"}));
  EXPECT_TRUE(result["capabilities"].contains("tools"));
  EXPECT_FALSE(result["capabilities"].contains("tasks"));
  EXPECT_EQ(result["_meta"][server_key]["name"], "fake");
  EXPECT_EQ(result["ttlMs"], 0);
  EXPECT_EQ(result["cacheScope"], "private");
  EXPECT_TRUE(process.initialize_params["capabilities"].contains("sampling"));
  EXPECT_FALSE(process.initialize_params["capabilities"].contains("roots"));
}

TEST_P(Bridge, results_and_errors_are_said_as_the_revision_wants) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/list"));
  process.answer(process.next(), {{"tools", Json::array()}});
  EXPECT_EQ(a->next()["result"], Json({{"resultType", "complete"},
                                       {"ttlMs", 0},
                                       {"cacheScope", "private"},
                                       {"tools", Json::array()},
                                       {"_meta", {{server_key, {{"name", "fake"}, {"version", "7"}}}}}}));
  a->send(modern(2, "tools/call"));
  process.answer(process.next(), {{"content", Json::array()}, {"_meta", {{"own", 1}}}});
  EXPECT_EQ(a->next()["result"], Json({{"resultType", "complete"},
                                       {"content", Json::array()},
                                       {"_meta", {{"own", 1}, {server_key, {{"name", "fake"}, {"version", "7"}}}}}}));
  const std::pair<int, int> codes[] = {{-32002, -32602}, {-32601, -32601}, {-32000, -32603}, {-32055, -32603}, {7, 7}};
  for (const auto& [theirs, ours] : codes) {
    a->send(modern(3, "resources/read"));
    process.send({{"jsonrpc", "2.0"},
                  {"id", process.next()["id"]},
                  {"error", {{"code", theirs}, {"message", "m"}, {"data", {{"uri", "x"}}}}}});
    EXPECT_EQ(a->next()["error"], Json({{"code", ours}, {"message", "m"}, {"data", {{"uri", "x"}}}}));
  }
  a->send(modern(4, "tools/call"));
  process.answer(process.next(), Json::array());
  EXPECT_EQ(a->next()["error"]["code"], -32603);
}

TEST_P(Bridge, what_the_revision_does_not_have_or_allow_is_refused_here) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/list"));
  process.answer(process.next(), {{"tools", Json::array()}});
  (void)a->next();
  for (const auto* method : {"initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/get"}) {
    a->send(modern(2, method));
    EXPECT_EQ(a->next()["error"]["code"], -32601) << method;
  }
  EXPECT_EQ(a->ask(3, "tools/list")["error"]["code"], -32602);
  auto other = modern(4, "tools/list");
  other["params"]["_meta"][version_key] = "2099-01-01";
  a->send(other);
  EXPECT_EQ(a->next()["error"]["data"], Json({{"supported", {"2026-07-28"}}, {"requested", "2099-01-01"}}));
  a->send(modern(5, "tools/list", {{"_meta", {{level_key, "loud"}}}}));
  EXPECT_EQ(a->next()["error"]["code"], -32602);
  EXPECT_TRUE(process.lines.empty());
}

TEST_P(Bridge, a_question_is_a_result_that_requires_input_and_the_retry_has_the_answer) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/call", {{"name", "t"}, {"arguments", {{"x", 1}}}}, asking));
  const auto call = process.next();
  process.send(request("q", "elicitation/create", {{"message", "Name?"}}));
  const auto required = a->next();
  EXPECT_EQ(required["id"], 1);
  ASSERT_EQ(required["result"]["resultType"], "input_required") << required;
  const auto requests = required["result"]["inputRequests"];
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests.begin().value(), Json({{"method", "elicitation/create"}, {"params", {{"message", "Name?"}}}}));
  const std::string state = required["result"]["requestState"];

  Json retry = {{"name", "t"},
                {"arguments", {{"x", 1}}},
                {"requestState", state},
                {"inputResponses", {{requests.begin().key(), {{"action", "accept"}}}}},
                {"_meta", {{"progressToken", "p"}}}};
  a->send(modern(2, "tools/call", retry, asking));
  EXPECT_EQ(process.next(), Json({{"jsonrpc", "2.0"}, {"id", "q"}, {"result", {{"action", "accept"}}}}));
  process.answer(call, {{"content", Json::array()}});
  const auto done = a->next();
  EXPECT_EQ(done["id"], 2);
  EXPECT_EQ(done["result"]["resultType"], "complete");

  a->send(modern(3, "tools/call", retry, asking));  // once only
  EXPECT_EQ(a->next()["error"]["code"], -32602);
}

TEST_P(Bridge, questions_that_come_together_are_told_together) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/call", {{"name", "t"}}, asking));
  (void)process.next();
  process.send(request(1, "roots/list"));
  process.send(request(2, "elicitation/create", {{"message", "Name?"}}));
  process.send(request(3, "sampling/createMessage", {{"maxTokens", 1}}));
  EXPECT_EQ(a->next()["result"]["inputRequests"].size(), 3U);
}

TEST_P(Bridge, a_state_is_good_for_its_client_and_its_request_only) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/call", {{"name", "t"}}, asking));
  (void)process.next();
  process.send(request(5, "roots/list"));
  const auto required = a->next();
  const std::string state = required["result"]["requestState"];
  const auto key = required["result"]["inputRequests"].begin().key();
  const auto retry = [&](const std::string& method, const std::string& name, const Json& with, const Json& answer) {
    return modern(2, method, {{"name", name}, {"requestState", with}, {"inputResponses", {{key, answer}}}}, asking);
  };
  auto forged = state;
  forged.back() = forged.back() == '0' ? '1' : '0';
  for (const auto& one :
       {retry("tools/call", "t", forged, Json::object()), retry("tools/call", "u", state, Json::object()),
        retry("prompts/get", "t", state, Json::object()), retry("tools/call", "t", 5, Json::object()),
        retry("tools/call", "t", "", Json::object()), retry("tools/call", "t", state, "no object")}) {
    a->send(one);
    EXPECT_EQ(a->next()["error"]["code"], -32602) << one;
  }
  if (mode_ == link::ServerMode::shared) {
    auto b = client("b");
    b->send(retry("tools/call", "t", state, Json::object()));
    EXPECT_EQ(b->next()["error"]["code"], -32602);
  }
  EXPECT_TRUE(process.lines.empty());
  a->send(retry("tools/call", "t", state, {{"roots", Json::array()}}));
  EXPECT_EQ(process.next()["result"]["roots"], Json::array());
}

TEST_P(Bridge, what_is_missing_in_a_retry_is_asked_once_more) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "prompts/get", {{"name", "p"}}, asking));
  const auto call = process.next();
  process.send(request("one", "roots/list"));
  const auto first = a->next()["result"];
  process.send(request("two", "sampling/createMessage", {{"maxTokens", 1}}));
  run_ready(loop);
  a->send(modern(
      2, "prompts/get",
      {{"name", "p"}, {"requestState", first["requestState"]}, {"inputResponses", {{"unknown", Json::object()}}}},
      asking));
  const auto second = a->next();
  EXPECT_EQ(second["id"], 2);
  ASSERT_EQ(second["result"]["inputRequests"].size(), 2U) << second;
  EXPECT_NE(second["result"]["requestState"], first["requestState"]);
  Json answers;
  for (const auto& [key, question] : second["result"]["inputRequests"].items()) {
    answers[key] = {{"of", question["method"]}};
  }
  a->send(modern(3, "prompts/get",
                 {{"name", "p"}, {"requestState", second["result"]["requestState"]}, {"inputResponses", answers}},
                 asking));
  std::map<std::string, std::string> got;
  for (int i = 0; i < 2; ++i) {
    const auto answer = process.next();
    got[answer["id"]] = answer["result"]["of"];
  }
  EXPECT_EQ(got, (std::map<std::string, std::string>{{"one", "roots/list"}, {"two", "sampling/createMessage"}}));
  process.answer(call, {{"messages", Json::array()}});
  EXPECT_EQ(a->next()["id"], 3);
}

TEST_P(Bridge, an_answer_that_comes_before_the_retry_waits_for_it) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/call", {{"name", "t"}}, asking));
  const auto call = process.next();
  process.send(request("q", "roots/list"));
  const auto required = a->next()["result"];
  process.send(notification("notifications/cancelled", {{"requestId", "q"}}));
  process.answer(call, {{"content", "early"}});
  run_ready(loop);
  EXPECT_TRUE(a->lines.empty());
  a->send(modern(2, "tools/call", {{"name", "t"}, {"requestState", required["requestState"]}}, asking));
  const auto done = a->next();
  EXPECT_EQ(done["id"], 2);
  EXPECT_EQ(done["result"]["content"], "early");
}

TEST_P(Bridge, who_cannot_answer_is_not_asked) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/call", {{"name", "t"}}, {{"sampling", Json::object()}}));
  const auto call = process.next();
  process.send(request("q", "elicitation/create", {{"message", "Name?"}}));
  const auto refusal = process.next();
  EXPECT_EQ(refusal["id"], "q");
  EXPECT_EQ(refusal["error"]["code"], -32601);
  process.answer(call, {{"content", Json::array()}});
  EXPECT_EQ(a->next()["id"], 1);
}

TEST_P(Bridge, pages_to_visit_are_input_that_is_required) {
  auto a = client("a");
  const Json visits = {{"elicitation", {{"url", Json::object()}}}};
  const Json page = {{"mode", "url"}, {"url", "https://example.org"}, {"message", "Log in"}};
  auto& process = begin(*a, modern(1, "tools/call", {{"name", "t"}}, visits));
  process.send({{"jsonrpc", "2.0"},
                {"id", process.next()["id"]},
                {"error", {{"code", -32042}, {"message", "m"}, {"data", {{"elicitations", {page}}}}}}});
  const auto required = a->next()["result"];
  ASSERT_EQ(required["resultType"], "input_required");
  EXPECT_EQ(required["inputRequests"].begin().value(), Json({{"method", "elicitation/create"}, {"params", page}}));
  a->send(modern(2, "tools/call",
                 {{"name", "t"}, {"inputResponses", {{required["inputRequests"].begin().key(), Json::object()}}}},
                 visits));
  const auto again = process.next();
  EXPECT_EQ(again["params"]["name"], "t");
  EXPECT_FALSE(again["params"].contains("inputResponses"));
}

TEST_P(Bridge, progress_and_wanted_log_messages_reach_the_client) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/list"));
  process.answer(process.next(), {{"tools", Json::array()}});
  (void)a->next();
  process.send(notification("notifications/message", {{"level", "error"}, {"data", "nobody asked"}}));
  a->send(modern(2, "tools/call", {{"_meta", {{"progressToken", 9}, {level_key, "warning"}}}}));
  const auto level = process.next();
  EXPECT_EQ(level["method"], "logging/setLevel");
  EXPECT_EQ(level["params"]["level"], "warning");
  process.answer(level, Json::object());
  const auto call = process.next();
  process.send(notification("notifications/progress",
                            {{"progressToken", call["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
  process.send(notification("notifications/message", {{"level", "info"}, {"data", "too little"}}));
  process.send(notification("notifications/message", {{"level", "error"}, {"data", "this"}}));
  process.answer(call, Json::object());
  EXPECT_EQ(a->next()["params"]["progressToken"], 9);
  EXPECT_EQ(a->next()["params"]["data"], "this");
  EXPECT_EQ(a->next()["id"], 2);
}

TEST_P(Bridge, a_cancelled_call_is_cancelled_at_the_server) {
  auto a = client("a");
  auto& process = begin(*a, modern("c", "tools/call"));
  const auto call = process.next();
  a->notify("notifications/cancelled", {{"requestId", "c"}});
  const auto cancelled = process.next();
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["params"]["requestId"], call["id"]);
  process.answer(call, Json::object());
  run_ready(loop);
  EXPECT_TRUE(a->lines.empty());
}

TEST_P(Bridge, streams_have_what_was_asked_for_and_can_be_had) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "subscriptions/listen",
                                   {{"notifications",
                                     {{"toolsListChanged", true},
                                      {"promptsListChanged", true},
                                      {"resourceSubscriptions", {"file:///x", "file:///refused"}}}}}));
  for (int i = 0; i < 2; ++i) {
    const auto subscribe = process.next();
    EXPECT_EQ(subscribe["method"], "resources/subscribe");
    if (subscribe["params"]["uri"] == "file:///x") {
      process.answer(subscribe, Json::object());
    } else {
      process.send({{"jsonrpc", "2.0"}, {"id", subscribe["id"]}, {"error", {{"code", -32002}, {"message", "no"}}}});
    }
  }
  const auto begun = a->next();
  EXPECT_EQ(begun["method"], "notifications/subscriptions/acknowledged");
  EXPECT_EQ(begun["params"],
            Json({{"_meta", {{stream_key, 1}}},
                  {"notifications", {{"toolsListChanged", true}, {"resourceSubscriptions", {"file:///x"}}}}}));
  a->send(modern("two", "subscriptions/listen", {{"notifications", {{"resourceSubscriptions", {"file:///x"}}}}}));
  EXPECT_EQ(a->next()["params"]["_meta"][stream_key], "two");

  process.send(notification("notifications/tools/list_changed"));
  EXPECT_EQ(a->next(), on_stream(1, "notifications/tools/list_changed"));
  process.send(notification("notifications/prompts/list_changed"));
  process.send(notification("notifications/resources/updated", {{"uri", "file:///x"}, {"_meta", {{"k", "v"}}}}));
  std::set<std::string> told;
  for (int i = 0; i < 2; ++i) {
    const auto updated = a->next();
    EXPECT_EQ(updated["method"], "notifications/resources/updated");
    EXPECT_EQ(updated["params"]["_meta"]["k"], "v");
    told.insert(updated["params"]["_meta"][stream_key].dump());
  }
  EXPECT_EQ(told, (std::set<std::string>{"1", "\"two\""}));

  a->notify("notifications/cancelled", {{"requestId", 1}});
  run_ready(loop);
  EXPECT_TRUE(process.lines.empty());  // the other one still wants it
  a->notify("notifications/cancelled", {{"requestId", "two"}});
  EXPECT_EQ(process.next()["method"], "resources/unsubscribe");
}

TEST_P(Bridge, sets_of_capabilities_are_clients_of_their_own) {
  auto a = client("a");
  auto& first = begin(*a, modern(1, "tools/call"));
  const auto plain = first.next();
  a->send(modern(2, "tools/call", {}, asking));
  auto& second = mode_ == link::ServerMode::session ? start_process("s") : first;
  const auto able = second.next();
  if (mode_ == link::ServerMode::session) {
    EXPECT_FALSE(first.initialize_params["capabilities"].contains("roots"));
    EXPECT_TRUE(second.initialize_params["capabilities"].contains("roots"));
  }
  second.answer(able, {{"of", 2}});
  first.answer(plain, {{"of", 1}});
  std::set<int> of;
  of.insert(a->next()["result"]["of"].get<int>());
  of.insert(a->next()["result"]["of"].get<int>());
  EXPECT_EQ(of, (std::set<int>{1, 2}));
  for (int i = 0; i < 20; ++i) {  // no more than some of them at once
    a->send(modern(100 + i, "tools/call", {}, {{"experimental", {{"n", i}}}}));
  }
  a->hang_up();
  run_ready(loop);
}

TEST_P(Bridge, a_crash_answers_what_is_open) {
  auto a = client("a");
  auto& process = begin(*a, modern(1, "tools/call"));
  (void)process.next();
  crash(process, "s", "exited with code 3");
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], 1);
  EXPECT_EQ(answer["error"]["code"], -32603);
  a->send(modern(2, "tools/list"));
  auto& fresh = start_process("s");
  fresh.answer(fresh.next_of("tools/list"), {{"tools", Json::array()}});
  EXPECT_EQ(a->next()["id"], 2);
}

TEST_P(Bridge, a_server_that_ends_when_asked_what_it_speaks_is_asked_in_an_older_revision) {
  auto a = client("a");
  a->send(modern(1, "tools/list"));
  auto& probed = start_process("s");
  (void)probed.next_of("server/discover");
  crash(probed, "s", "exited with code 1");
  auto& process = start_process("s");
  process.answer(process.next_of("tools/list"), {{"tools", Json::array()}});
  EXPECT_EQ(a->next()["result"]["resultType"], "complete");
}

TEST_P(Bridge, garbage_in_a_handshake_or_an_answer_is_an_error) {
  auto a = client("a");
  a->send(modern(1, "tools/list"));
  auto& process = legacy_process();
  process.shakes_hands = false;
  process.send({{"jsonrpc", "2.0"}, {"id", process.next()["id"]}, {"result", {{"protocolVersion", 7}}}});
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], 1);
  EXPECT_EQ(answer["error"]["code"], -32603);
}

TEST_F(ModernHub, legacy_and_translated_clients_share_one_process) {
  auto old = connect("a");
  old->initialize("s");
  auto& process = start_process("s");
  (void)old->next();
  old->notify("notifications/initialized");
  auto a = client("b");
  a->send(modern(1, "tools/call", {{"name", "new"}}));
  auto& probed = start_process("s");
  probed.send({{"jsonrpc", "2.0"}, {"id", probed.next()["id"]}, {"error", {{"code", -32601}, {"message", "no"}}}});
  const auto translated = process.next();
  old->send(request(1, "tools/call", {{"name", "old"}}));
  const auto own = process.next();
  process.answer(own, {{"of", "old"}});
  process.answer(translated, {{"of", "new"}});
  EXPECT_EQ(old->next_raw(), R"({"id":1,"jsonrpc":"2.0","result":{"of":"old"}})");
  EXPECT_EQ(a->next()["result"]["resultType"], "complete");
  EXPECT_EQ(process.handshakes, 1U);
}

}  // namespace
}  // namespace hal::hub::test
