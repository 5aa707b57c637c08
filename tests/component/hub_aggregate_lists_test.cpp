#include "hub_aggregate_support.hpp"

#include <set>

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

constexpr const char* list_changed[] = {"notifications/tools/list_changed", "notifications/prompts/list_changed",
                                        "notifications/resources/list_changed"};

/** Lists that wait a fraction of a second for their servers. */
class AggregateLists : public Aggregate {
 public:
  AggregateLists() { capabilities.erase("tasks"); }

  std::unique_ptr<RelayPeer> ready_client() {
    auto client = all();
    client->send(request("start", "tools/list"));
    start_all({"files", "notes"});
    for (const auto* server : {"files", "notes"}) {
      of(server).answer(of(server).next_of("tools/list"), {{"tools", Json::array()}});
    }
    EXPECT_EQ(client->next()["result"], Json({{"tools", Json::array()}}));
    return client;
  }

  static void expect_all_changed(RelayPeer& client) {
    for (const auto* method : list_changed) {
      EXPECT_EQ(client.next()["method"], method);
    }
  }

  void shorten_deadline() {
    hub = std::make_unique<Hub>(
        loop, [this](link::ToDaemon message) { to_daemon.push_back(std::move(message)); },
        limits::Deadlines{.list = 50ms});
    add_server("files");
    add_server("notes");
    add_worker("c", {"files", "notes"});
  }
};

TEST_F(AggregateLists, of_all_servers_are_merged_in_the_order_of_their_names) {
  auto client = ready_client();
  EXPECT_EQ(names(list(*client, "tools/list", "tools",
                       {{"files", {{{"name", "z"}}, {{"name", "a"}}}}, {"notes", {{{"name", "m"}}}}})),
            Json({"files__z", "files__a", "notes__m"}));
  EXPECT_EQ(names(list(*client, "prompts/list", "prompts", {{"files", {{{"name", "p"}}}}, {"notes", Json::array()}})),
            Json({"files__p"}));
  EXPECT_EQ(
      names(list(*client, "resources/list", "resources",
                 {{"files", {{{"name", "n"}, {"uri", "file:///n"}}}}, {"notes", {{{"name", "o"}, {"uri", "note:o"}}}}}),
            "uri"),
      Json({"file:///n", "note:o"}));
  EXPECT_EQ(names(list(*client, "resources/templates/list", "resourceTemplates",
                       {{"files", {{{"uriTemplate", "file:///{p}"}}}}, {"notes", Json::array()}}),
                  "uriTemplate"),
            Json({"file:///{p}"}));
}

TEST_F(AggregateLists, keep_every_byte_but_the_names) {
  auto client = ready_client();
  client->send(request(1, "tools/list"));
  const auto at_files = of("files").next();
  of("files").send_raw(
      R"({"jsonrpc":"2.0","id":)" + at_files["id"].dump() +
      R"(,"result":{"tools":[ {"z":1.0, "name":"a\u00e9" ,"inputSchema":{"name":"inner","$schema":"x"}},{"no":"name"},7]}})");
  of("notes").answer(of("notes").next(), {{"tools", Json::array()}});
  EXPECT_EQ(
      client->next_raw(),
      R"({"jsonrpc":"2.0","id":1,"result":{"tools":[{"z":1.0, "name":"files__a\u00e9" ,"inputSchema":{"name":"inner","$schema":"x"}}]}})");
}

TEST_F(AggregateLists, follow_the_servers_pages_to_a_bound_and_then_give_a_cursor_of_their_own) {
  auto client = ready_client();
  std::size_t pages = 0;
  of("files").on_message = [&](const Json& asked) {
    const auto page = asked["params"].value("cursor", "0");
    EXPECT_EQ(page, std::to_string(pages));
    ++pages;
    Json result = {{"tools", {{{"name", page}, {"description", std::string(300'000, 'd')}}}}};
    if (pages < 6) {
      result["nextCursor"] = std::to_string(pages);
    }
    of("files").answer(asked, result);
  };
  of("notes").on_message = [&](const Json& asked) { of("notes").answer(asked, {{"tools", {{{"name", "n"}}}}}); };
  const auto first = client->ask(1, "tools/list")["result"];
  EXPECT_EQ(names(first["tools"]), Json({"files__0", "files__1", "files__2", "files__3", "notes__n"}));
  const auto cursor = first["nextCursor"];
  EXPECT_EQ(client->ask(2, "prompts/list", {{"cursor", cursor}})["error"]["code"], -32602);
  const auto second = client->ask(3, "tools/list", {{"cursor", cursor}})["result"];
  EXPECT_EQ(names(second["tools"]), Json({"files__4", "files__5"}));
  EXPECT_FALSE(second.contains("nextCursor"));
}

TEST_F(AggregateLists, a_server_that_never_ends_its_list_does_not_hold_the_others_up) {
  auto client = ready_client();
  std::uint64_t page = 0;
  of("files").on_message = [&](const Json& asked) {
    of("files").answer(asked, {{"tools", Json::array()}, {"nextCursor", std::to_string(++page)}});
  };
  of("notes").on_message = [&](const Json& asked) { of("notes").answer(asked, {{"tools", {{{"name", "n"}}}}}); };
  const auto answer = client->ask(1, "tools/list")["result"];
  EXPECT_EQ(names(answer["tools"]), Json({"notes__n"}));
  EXPECT_TRUE(answer.contains("nextCursor"));
  EXPECT_EQ(page, limits::list_pages);
}

TEST_F(AggregateLists, leave_out_what_a_server_refuses_or_has_not) {
  capabilities = {{"tools", Json::object()}};
  auto client = ready_client();
  EXPECT_EQ(client->ask(1, "prompts/list")["result"], Json({{"prompts", Json::array()}}));
  client->send(request(2, "tools/list"));
  const auto asked = of("files").next();
  of("files").send({{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"error", {{"code", -32603}, {"message", "broken"}}}});
  of("notes").answer(of("notes").next(), {{"tools", {{{"name", "n"}}}}});
  EXPECT_EQ(names(client->next()["result"]["tools"]), Json({"notes__n"}));
}

TEST_F(AggregateLists, do_not_wait_for_a_broken_server_and_say_when_it_comes) {
  auto client = all();
  client->send(request(1, "tools/list"));
  ASSERT_TRUE(wait_told<link::InstanceRequest>(2));
  hub->unavailable({"files", std::nullopt, "no such program", 1});
  start(*told<link::InstanceRequest>()[1]);
  of("notes").answer(of("notes").next(), {{"tools", {{{"name", "n"}}}}});
  EXPECT_EQ(names(client->next()["result"]["tools"]), Json({"notes__n"}));
  ASSERT_TRUE(wait_told<link::InstanceRequest>(3));  // it is asked again, by itself
  start(*told<link::InstanceRequest>()[2]);
  expect_all_changed(*client);
}

TEST_F(AggregateLists, do_not_wait_for_a_slow_server_and_say_when_it_comes) {
  shorten_deadline();
  auto client = all(Json::object(), "c");
  client->send(request(1, "tools/list"));
  ASSERT_TRUE(wait_told<link::InstanceRequest>(2));
  start(*told<link::InstanceRequest>()[1]);
  of("notes").answer(of("notes").next(), {{"tools", {{{"name", "n"}}}}});
  EXPECT_EQ(names(client->next()["result"]["tools"]), Json({"notes__n"}));
  start(*told<link::InstanceRequest>()[0]);
  expect_all_changed(*client);
  EXPECT_EQ(names(list(*client, "tools/list", "tools", {{"files", {{{"name", "f"}}}}, {"notes", Json::array()}})),
            Json({"files__f"}));
}

TEST_F(AggregateLists, a_cancelled_list_is_not_answered) {
  auto client = ready_client();
  client->send(request(1, "tools/list"));
  const auto asked = of("files").next();
  client->notify("notifications/cancelled", {{"requestId", 1}});
  EXPECT_TRUE(client->ask(2, "ping").contains("result"));
  of("files").answer(asked, {{"tools", Json::array()}});
  of("notes").answer(of("notes").next(), {{"tools", Json::array()}});
  EXPECT_TRUE(client->ask(3, "ping").contains("result"));
  run_ready(loop);
  EXPECT_TRUE(client->lines.empty());
}

TEST_F(AggregateLists, of_names_with_the_separator_the_longest_server_wins) {
  add_server("files__x");
  add_worker("d", {"files", "files__x"});
  auto client = all(Json::object(), "d");
  client->send(request(1, "tools/list"));
  start_all({"files", "files__x"});
  // "x__tool" of "files" would be called as "tool" of "files__x": it is no use to list it.
  of("files").answer(of("files").next(), {{"tools", {{{"name", "x__tool"}}, {{"name", "y__tool"}}}}});
  of("files__x").answer(of("files__x").next(), {{"tools", {{{"name", "tool"}}}}});
  EXPECT_EQ(names(client->next()["result"]["tools"]), Json({"files__y__tool", "files__x__tool"}));
  client->send(request(2, "tools/call", {{"name", "files__x__tool"}}));
  EXPECT_EQ(of("files__x").next()["params"]["name"], "tool");
  client->send(request(3, "tools/call", {{"name", "files__y__tool"}}));
  EXPECT_EQ(of("files").next()["params"]["name"], "y__tool");
}

TEST_F(AggregateLists, list_changed_of_a_server_and_of_the_configuration_reach_the_client) {
  auto client = ready_client();
  of("files").send(notification("notifications/tools/list_changed"));
  EXPECT_EQ(client->next()["method"], "notifications/tools/list_changed");
  hub->remove_server("notes");
  expect_all_changed(*client);
  EXPECT_EQ(client->ask(1, "tools/call", {{"name", "notes__n"}})["error"]["code"], -32602);
  add_server("notes");
  expect_all_changed(*client);
  hub->add_worker({{"a"}, 1000, {"files"}, UniqueFd()});
  expect_all_changed(*client);
  EXPECT_EQ(names(list(*client, "tools/list", "tools", {{"files", {{{"name", "f"}}}}})), Json({"files__f"}));
}

TEST_F(AggregateLists, a_server_that_is_taken_away_leaves_the_others_alone) {
  auto client = ready_client();
  client->send(request(1, "tools/call", {{"name", "files__f"}}));
  client->send(request(2, "tools/call", {{"name", "notes__n"}}));
  const auto kept = of("files").next();
  (void)of("notes").next();
  hub->add_worker({{"a"}, 1000, {"files"}, UniqueFd()});
  const auto failed = client->next();
  EXPECT_EQ(failed["id"], 2);
  EXPECT_EQ(failed["error"]["message"], "server notes may not be used any more");
  EXPECT_EQ(of("notes").next()["method"], "notifications/cancelled");
  expect_all_changed(*client);
  of("files").answer(kept, {{"ok", 1}});
  EXPECT_EQ(client->next()["result"]["ok"], 1);
}

TEST_F(AggregateLists, the_process_of_a_session_that_ends_is_replaced_by_the_next_call) {
  add_server("own", link::ServerMode::session);
  add_worker("e", {"own"});
  auto client = all(Json::object(), "e");
  client->send(request(1, "tools/call", {{"name", "own__f"}}));
  start_all({"own"});
  (void)of("own").next();
  crash(of("own"), "own", "exited with code 5");
  EXPECT_EQ(client->next()["error"]["message"], "server own exited with code 5");
  client->send(request(2, "tools/call", {{"name", "own__f"}}));
  start_all({"own"});
  of("own").answer(of("own").next(), {{"ok", 2}});
  std::set<std::string> seen;
  for (int i = 0; i < 4; ++i) {
    const auto message = client->next();
    seen.insert(message.value("method", "answer"));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"answer", list_changed[0], list_changed[1], list_changed[2]}));
}

TEST_F(AggregateLists, the_end_of_the_session_ends_it_at_every_server) {
  add_server("own", link::ServerMode::session);
  add_worker("f", {"own", "files"});
  auto client = all(Json::object(), "f");
  client->send(request(1, "tools/call", {{"name", "own__f"}}));
  client->send(request(2, "tools/call", {{"name", "files__f"}}));
  start_all({"own", "files"});
  const auto call = of("files").next();
  (void)of("own").next();
  client->hang_up();
  EXPECT_EQ(of("files").next()["params"]["requestId"], call["id"]);
  EXPECT_TRUE(wait_told<link::InstanceRelease>(1));
  EXPECT_TRUE(run_until(loop, [&] { return of("own").closed; }));
}

TEST_F(AggregateLists, the_hubs_end_answers_what_is_open) {
  auto client = all();
  client->send(request(1, "tools/list"));
  client->send(request(2, "tools/call", {{"name", "files__f"}}));
  ASSERT_TRUE(wait_told<link::InstanceRequest>(2));
  bool idle = false;
  hub->shut_down("the gateway is stopping", [&] { idle = true; });
  std::set<int> answered;
  for (int i = 0; i < 2; ++i) {
    const auto answer = client->next();
    EXPECT_EQ(answer["error"]["code"], -32055) << answer;
    answered.insert(answer["id"].get<int>());
  }
  EXPECT_EQ(answered, (std::set<int>{1, 2}));
  EXPECT_TRUE(run_until(loop, [&] { return idle && client->closed; }));
}

}  // namespace
}  // namespace hal::hub::test
