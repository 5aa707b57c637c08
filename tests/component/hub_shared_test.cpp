#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

TEST_F(Shared, colliding_ids_of_two_clients_reach_the_server_as_different_ones) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->send(request(1, "tools/call", {{"who", "a"}}));
  b->send(request(1, "tools/call", {{"who", "b"}}));
  auto first = process->next();
  auto second = process->next();
  EXPECT_NE(first["id"], second["id"]);
  process->answer(second, {{"for", second["params"]["who"]}});
  process->answer(first, {{"for", first["params"]["who"]}});
  EXPECT_EQ(a->next(), Json({{"jsonrpc", "2.0"}, {"id", 1}, {"result", {{"for", "a"}}}}));
  EXPECT_EQ(b->next(), Json({{"jsonrpc", "2.0"}, {"id", 1}, {"result", {{"for", "b"}}}}));
}

TEST_F(Shared, ids_of_every_spelling_come_back_byte_for_byte) {
  auto a = ready_client("a");
  process->on_message = [&](const Json& message) { process->answer(message, Json::object()); };
  for (const std::string id :
       {"0", "-7", "1.5e3", "12345678901234567890123", R"("0")", R"("a\/bé")", R"("\ud83d")", "\"\""}) {
    a->send_raw(R"({"params":{}, "id": )" + id + R"( ,"method":"tools/list","jsonrpc":"2.0"})");
    EXPECT_EQ(a->next_raw(), R"({"id":)" + id + R"(,"jsonrpc":"2.0","result":{}})");
  }
}

TEST_F(Shared, payload_bytes_are_not_touched) {
  auto a = ready_client("a");
  a->send_raw(
      R"({"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"z":1.0,"a":10000000000000000000001,"a":"\/" , "$schema":"q"}})");
  const auto line = process->next_raw();
  EXPECT_NE(line.find(R"("params":{"z":1.0,"a":10000000000000000000001,"a":"\/" , "$schema":"q"}})"), std::string::npos)
      << line;
  const auto number = Json::parse(line)["id"].dump();
  process->send_raw(R"({"result":{"k":1e2,"k":2, "t":"\u00e9"},"id":)" + number + R"(,"jsonrpc":"2.0"})");
  EXPECT_EQ(a->next_raw(), R"({"result":{"k":1e2,"k":2, "t":"\u00e9"},"id":"x","jsonrpc":"2.0"})");
}

TEST_F(Shared, twenty_clients_at_once_share_one_handshake) {
  std::vector<std::unique_ptr<RelayPeer>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(connect(i % 2 == 0 ? "a" : "b"));
    clients.back()->initialize("s");
  }
  process = &start_process("s");
  for (auto& client : clients) {
    EXPECT_EQ(client->next()["result"]["serverInfo"]["version"], "7");
    client->notify("notifications/initialized");
  }
  auto late = ready_client("a");
  late->ask(1, "ping");
  EXPECT_EQ(process->handshakes, 1U);
  EXPECT_EQ(process->initialized, 1U);
  EXPECT_EQ(told<link::InstanceRequest>().size(), 1U);
}

TEST_F(Shared, the_handshake_outlives_the_client_that_began_it) {
  auto a = connect("a");
  a->initialize("s");
  process = &start_process("s");
  auto b = connect("b");
  b->initialize("s");
  a->hang_up();
  EXPECT_EQ(b->next()["result"]["serverInfo"]["name"], "fake");
}

TEST_F(Shared, a_client_of_an_older_revision_gets_its_own_and_an_unknown_one_the_servers) {
  (void)ready_client("a");
  for (const auto& [asked, given] : {std::pair("2024-11-05", "2024-11-05"), std::pair("2025-06-18", "2025-06-18"),
                                     std::pair("1999-01-01", "2025-11-25"), std::pair("2026-07-28", "2025-11-25")}) {
    auto client = connect("a");
    client->open("s");
    const auto answer = client->ask("i", "initialize", {{"protocolVersion", asked}, {"capabilities", Json::object()}});
    EXPECT_EQ(answer["result"]["protocolVersion"], given);
    EXPECT_EQ(answer["id"], "i");
  }
}

TEST_F(Shared, the_server_is_told_what_the_clients_can_and_nothing_else) {
  (void)ready_client(
      "a", {{"roots", {{"listChanged", true}}}, {"elicitation", Json::object()}, {"experimental", {{"x", 1}}}});
  EXPECT_EQ(process->initialize_params["capabilities"],
            Json({{"roots", {{"listChanged", true}}}, {"elicitation", Json::object()}}));
  EXPECT_EQ(process->initialize_params["clientInfo"]["name"], "hal9000");
}

TEST_F(Shared, a_failed_handshake_is_not_kept) {
  auto a = connect("a");
  a->initialize("s");
  auto& bad = start_process("s");
  bad.shakes_hands = false;
  const auto hello = bad.next();
  bad.send({{"jsonrpc", "2.0"}, {"id", hello["id"]}, {"error", {{"code", -32000}, {"message", "no"}}}});
  EXPECT_EQ(a->next()["error"]["code"], -32603);
  EXPECT_EQ(told<link::InstanceRelease>().size(), 1U);
  a->send(request(1, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}}));
  process = &start_process("s");
  EXPECT_EQ(a->next()["result"]["serverInfo"]["name"], "fake");
}

TEST_F(Shared, progress_goes_to_its_call_with_the_clients_own_token_before_the_result) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->send(request(1, "tools/call", {{"who", "a"}, {"_meta", {{"progressToken", "t"}, {"trace", 5}}}}));
  b->send(request(1, "tools/call", {{"who", "b"}, {"_meta", {{"progressToken", 7}}}}));
  auto [of_a, of_b] = two_calls();
  EXPECT_EQ(of_a["params"]["_meta"]["trace"], 5);
  const auto token_a = of_a["params"]["_meta"]["progressToken"];
  const auto token_b = of_b["params"]["_meta"]["progressToken"];
  EXPECT_NE(token_a, token_b);
  process->send(notification("notifications/progress", {{"progressToken", token_b}, {"progress", 1}}));
  process->send(notification("notifications/progress", {{"progressToken", token_a}, {"progress", 2}}));
  process->send(notification("notifications/progress", {{"progressToken", "t"}, {"progress", 3}}));
  process->send(notification("notifications/progress", {{"progressToken", 999}, {"progress", 3}}));
  process->answer(of_a, Json::object());
  process->send(notification("notifications/progress", {{"progressToken", token_a}, {"progress", 9}}));
  process->answer(of_b, Json::object());
  EXPECT_EQ(a->next()["params"], Json({{"progressToken", "t"}, {"progress", 2}}));
  EXPECT_TRUE(a->next().contains("result"));
  EXPECT_EQ(b->next()["params"], Json({{"progressToken", 7}, {"progress", 1}}));
  EXPECT_TRUE(b->next().contains("result"));
  EXPECT_EQ(a->ask(2, "ping")["id"], 2);  // nothing else was in between
}

TEST_F(Shared, cancellation_reaches_the_server_under_its_own_id_and_the_late_answer_nobody) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->send(request(5, "tools/call", {{"who", "a"}}));
  b->send(request(5, "tools/call", {{"who", "b"}}));
  auto [of_a, of_b] = two_calls();
  b->notify("notifications/cancelled", {{"requestId", 5}, {"reason", "changed my mind"}});
  const auto cancelled = process->next();
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["params"], Json({{"requestId", of_b["id"]}, {"reason", "changed my mind"}}));
  process->answer(of_b, {{"late", true}});
  process->answer(of_a, {{"good", true}});
  EXPECT_EQ(a->next()["result"], Json({{"good", true}}));
  EXPECT_EQ(b->ask(6, "ping")["id"], 6);
  b->notify("notifications/cancelled", {{"requestId", "5"}});  // another type: another request
  b->notify("notifications/cancelled", {{"requestId", 77}});
  run_ready(loop);
  EXPECT_TRUE(process->lines.empty());
}

TEST_F(Shared, a_client_that_vanishes_has_its_calls_cancelled) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->send(request("x", "tools/call", {{"who", "a"}}));
  b->send(request("x", "tools/call", {{"who", "b"}}));
  const auto [of_a, of_b] = two_calls();
  a->hang_up();
  const auto cancelled = process->next();
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["params"]["requestId"], of_a["id"]);
  process->answer(of_a, Json::object());
  process->answer(of_b, Json::object());
  EXPECT_EQ(b->next()["id"], "x");
}

TEST_F(Shared, pings_are_answered_on_the_spot_both_ways) {
  auto a = ready_client("a");
  EXPECT_EQ(a->ask("p", "ping"), Json({{"jsonrpc", "2.0"}, {"id", "p"}, {"result", Json::object()}}));
  process->send(request("sp", "ping"));
  EXPECT_EQ(process->next(), Json({{"jsonrpc", "2.0"}, {"id", "sp"}, {"result", Json::object()}}));
}

TEST_F(Shared, list_changes_reach_all_ready_clients) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->ask(1, "ping");
  b->ask(1, "ping");
  for (const auto* list : {"tools", "resources", "prompts"}) {
    const auto method = "notifications/" + std::string(list) + "/list_changed";
    process->send(notification(method));
    EXPECT_EQ(a->next()["method"], method);
    EXPECT_EQ(b->next()["method"], method);
  }
}

TEST_F(Shared, subscriptions_are_counted_and_updates_reach_subscribers_only) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  const Json uri = {{"uri", "file:///x"}};
  a->send(request(1, "resources/subscribe", uri));
  auto subscribe = process->next();
  b->send(request(1, "resources/subscribe", uri));  // while the first is under way
  run_ready(loop);
  EXPECT_TRUE(process->lines.empty());
  process->answer(subscribe, Json::object());
  EXPECT_EQ(a->next()["result"], Json::object());
  EXPECT_EQ(b->next()["result"], Json::object());

  process->send(notification("notifications/resources/updated", uri));
  EXPECT_EQ(a->next()["params"], uri);
  EXPECT_EQ(b->next()["params"], uri);

  EXPECT_EQ(a->ask(2, "resources/unsubscribe", uri)["result"], Json::object());
  process->send(notification("notifications/resources/updated", {{"uri", "file:///x/sub"}}));
  EXPECT_EQ(b->next()["params"]["uri"], "file:///x/sub");
  EXPECT_EQ(a->ask(3, "ping")["id"], 3);

  b->hang_up();  // the last one
  EXPECT_EQ(process->next()["method"], "resources/unsubscribe");
}

TEST_F(Shared, a_refused_subscription_is_not_counted) {
  auto a = ready_client("a");
  a->send(request(1, "resources/subscribe", {{"uri", "file:///x"}}));
  const auto subscribe = process->next();
  process->send({{"jsonrpc", "2.0"}, {"id", subscribe["id"]}, {"error", {{"code", -32002}, {"message", "no such"}}}});
  EXPECT_EQ(a->next()["error"]["code"], -32002);
  process->send(notification("notifications/resources/updated", {{"uri", "file:///x"}}));
  EXPECT_EQ(a->ask(2, "ping")["id"], 2);
}

TEST_F(Shared, log_levels_are_merged_and_each_client_gets_its_own) {
  auto a = ready_client("a");
  EXPECT_EQ(a->ask(1, "logging/setLevel", {{"level", "error"}})["result"], Json::object());
  EXPECT_EQ(process->next()["params"]["level"], "error");
  auto b = ready_client("b");
  EXPECT_EQ(b->ask(1, "logging/setLevel", {{"level", "debug"}})["result"], Json::object());
  EXPECT_EQ(process->next()["params"]["level"], "debug");
  EXPECT_EQ(b->ask(2, "logging/setLevel", {{"level", "loud"}})["error"]["code"], -32602);

  const auto warning = notification("notifications/message", {{"level", "warning"}, {"data", "w"}});
  process->send(warning);  // of nobody's
  a->send(request(3, "tools/call"));
  const auto call = process->next();
  process->send(warning);  // a's, but below its level
  process->send(notification("notifications/message", {{"level", "critical"}, {"data", "c"}}));
  EXPECT_EQ(a->next()["params"]["data"], "c");
  EXPECT_EQ(b->ask(4, "ping")["id"], 4);

  b->hang_up();
  EXPECT_EQ(process->next_of("logging/setLevel")["params"]["level"], "error");
  process->answer(call, Json::object());
}

TEST_F(Shared, a_question_goes_to_the_only_client_with_a_call_and_its_answer_back) {
  auto a = ready_client("a", {{"elicitation", Json::object()}});
  auto b = ready_client("b", {{"elicitation", Json::object()}});
  b->send(request(1, "tools/call"));
  const auto call = process->next();
  process->send(request("q", "elicitation/create", {{"message", "?"}}));
  const auto asked = b->next();
  EXPECT_EQ(asked["method"], "elicitation/create");
  EXPECT_EQ(asked["params"]["message"], "?");
  a->send({{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"result", {{"action", "stolen"}}}});
  b->send({{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"result", {{"action", "accept"}}}});
  EXPECT_EQ(process->next(), Json({{"jsonrpc", "2.0"}, {"id", "q"}, {"result", {{"action", "accept"}}}}));
  b->send({{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"result", {{"action", "again"}}}});
  process->answer(call, Json::object());
  EXPECT_EQ(b->next()["id"], 1);
  EXPECT_TRUE(process->lines.empty());
}

TEST_F(Shared, a_question_that_could_be_anybodys_is_refused) {
  auto a = ready_client("a", {{"roots", Json::object()}});
  auto b = ready_client("b", {{"roots", Json::object()}});
  a->ask(1, "ping");
  b->ask(1, "ping");
  process->send(request(3, "roots/list"));
  auto refusal = process->next();
  EXPECT_EQ(refusal["id"], 3);
  EXPECT_EQ(refusal["error"]["code"], -32601);
  a->send(request(2, "tools/call"));
  (void)process->next();
  process->send(request(4, "sampling/createMessage"));  // a is the one, but cannot
  EXPECT_EQ(process->next()["error"]["code"], -32601);
  process->send(request(5, "future/thing"));  // who knows what a can
  const auto future = a->next();
  EXPECT_EQ(future["method"], "future/thing");
  a->send({{"jsonrpc", "2.0"}, {"id", future["id"]}, {"error", {{"code", -32601}, {"message", "no"}}}});
  EXPECT_EQ(process->next(), Json({{"jsonrpc", "2.0"}, {"id", 5}, {"error", {{"code", -32601}, {"message", "no"}}}}));
  process->send(request(6, "roots/list"));
  EXPECT_EQ(a->next()["method"], "roots/list");
  a->hang_up();
  EXPECT_EQ(process->next()["method"], "notifications/cancelled");
  const auto gone = process->next();
  EXPECT_EQ(gone["id"], 6);
  EXPECT_TRUE(gone.contains("error"));
}

TEST_F(Shared, a_question_the_server_withdraws_is_withdrawn_at_the_client) {
  auto a = ready_client("a", {{"roots", Json::object()}});
  a->ask(1, "ping");
  process->send(request("q1", "roots/list"));
  const auto asked = a->next();
  process->send(notification("notifications/cancelled", {{"requestId", "q1"}}));
  EXPECT_EQ(a->next()["params"]["requestId"], asked["id"]);
}

TEST_F(Shared, unknown_messages_pass_up_and_ownerless_ones_stop) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  a->ask(0, "ping");
  b->ask(1, "ping");
  process->send(notification("notifications/future", {{"secret", 1}}));  // of one of two: nobody's
  process->send(request("sync", "ping"));
  EXPECT_EQ(process->next()["id"], "sync");
  a->send(request(1, "future/method", {{"x", 1}}));
  const auto unknown = process->next();
  EXPECT_EQ(unknown["method"], "future/method");
  a->notify("notifications/roots/list_changed");
  EXPECT_EQ(process->next()["method"], "notifications/roots/list_changed");
  process->send(notification("notifications/future", {{"of", "a"}}));
  process->send({{"jsonrpc", "2.0"}, {"id", 424242}, {"result", {{"never", "asked"}}}});
  process->answer(unknown, {{"ok", 1}});
  process->answer(unknown, {{"ok", 2}});  // twice
  EXPECT_EQ(a->next()["params"]["of"], "a");
  EXPECT_EQ(a->next()["result"]["ok"], 1);
  EXPECT_EQ(a->ask(9, "ping")["id"], 9);
  EXPECT_EQ(b->ask(9, "ping")["id"], 9);
}

TEST_F(Shared, what_a_client_does_wrong_gets_the_defined_error_and_harms_nobody) {
  auto a = connect("a");
  a->open("s");
  EXPECT_EQ(a->ask(1, "tools/list")["error"]["code"], -32600);  // before initialize
  a->send(request(0, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}}));
  process = &start_process("s");
  a->next();
  EXPECT_EQ(a->ask(1, "initialize", {{"protocolVersion", "2025-11-25"}})["error"]["code"], -32600);  // twice
  a->send_raw("{nonsense");
  EXPECT_EQ(a->next(), Json({{"jsonrpc", "2.0"},
                             {"id", nullptr},
                             {"error", {{"code", -32700}, {"message", "not one JSON object, or nested too deeply"}}}}));
  a->send_raw(R"([{"jsonrpc":"2.0","id":1,"method":"ping"}])");
  EXPECT_EQ(a->next()["error"]["code"], -32600);
  a->send_raw(R"({"jsonrpc":"2.0","id":8})");
  EXPECT_EQ(a->next()["error"]["code"], -32600);
  a->send_raw(std::string(100'000, '['));
  EXPECT_EQ(a->next()["error"]["code"], -32700);
  a->send(request(3, "tools/call"));
  a->send(request(3, "tools/call"));
  EXPECT_EQ(a->next()["error"]["code"], -32600);
  a->send({{"jsonrpc", "2.0"}, {"id", 99}, {"result", Json::object()}});
  EXPECT_EQ(process->next()["method"], "tools/call");
  EXPECT_EQ(a->ask("still", "ping")["id"], "still");
}

TEST_F(Shared, too_many_requests_in_flight_are_refused) {
  auto a = ready_client("a");
  auto b = ready_client("b");
  for (std::size_t i = 0; i < limits::requests_in_flight; ++i) {
    a->send(request(i, "tools/call"));
  }
  a->send(request("one more", "tools/call"));
  const auto refusal = a->next();
  EXPECT_EQ(refusal["id"], "one more");
  EXPECT_EQ(refusal["error"]["code"], -32052);
  b->send(request(1, "tools/call", {{"of", "b"}}));
  while (process->next()["params"].value("of", "") != "b") {
  }
}

}  // namespace
}  // namespace hal::hub::test
