#include "hub_aggregate_support.hpp"
#include "io/listener.hpp"

#include <sys/socket.h>

#include <set>

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

/** Both servers are up and their tools listed. */
class Aggregated : public Aggregate {
 public:
  std::unique_ptr<RelayPeer> ready_client(const Json& can = Json::object()) {
    auto client = all(can);
    client->send(request("list", "tools/list"));
    start_all({"files", "notes"});
    for (const auto* server : {"files", "notes"}) {
      const auto asked = of(server).next_of("tools/list");
      of(server).answer(asked, {{"tools", {{{"name", "read"}, {"inputSchema", {{"type", "object"}}}}}}});
    }
    EXPECT_EQ(names(client->next()["result"]["tools"]), Json({"files__read", "notes__read"}));
    return client;
  }
};

TEST_F(Aggregate, initialize_is_answered_before_any_server_has_a_process) {
  auto client = connect("a");
  client->initialize("*");
  const auto result = client->next()["result"];
  EXPECT_EQ(result["serverInfo"]["name"], "hal9000");
  EXPECT_EQ(result["protocolVersion"], "2025-11-25");
  for (const auto* capability : {"tools", "prompts", "resources", "completions", "logging", "tasks"}) {
    EXPECT_TRUE(result["capabilities"].contains(capability)) << capability;
  }
  EXPECT_EQ(client->ask(1, "ping")["result"], Json::object());
  EXPECT_TRUE(told<link::InstanceRequest>().empty());
}

TEST_F(Aggregate, an_older_client_gets_its_revision_and_no_tasks) {
  auto client = connect("a");
  client->open("*");
  const auto result =
      client->ask(0, "initialize", {{"protocolVersion", "2025-03-26"}, {"capabilities", Json::object()}})["result"];
  EXPECT_EQ(result["protocolVersion"], "2025-03-26");
  EXPECT_FALSE(result["capabilities"].contains("tasks"));
  EXPECT_EQ(client->ask(1, "initialize", {{"protocolVersion", "2025-03-26"}})["error"]["code"], -32600);
}

TEST_F(Aggregate, nothing_but_ping_goes_before_initialize) {
  auto client = connect("a");
  client->open("*");
  EXPECT_EQ(client->ask(1, "tools/list")["error"]["code"], -32600);
  EXPECT_TRUE(client->ask(2, "ping").contains("result"));
}

TEST_F(Aggregate, a_server_is_told_what_the_client_has_said) {
  auto client = all({{"roots", {{"listChanged", true}}}});
  client->send(request(1, "tools/call", {{"name", "files__read"}}));
  start_all({"files"});
  EXPECT_EQ(of("files").next()["params"]["name"], "read");
  EXPECT_EQ(of("files").initialize_params["capabilities"], Json({{"roots", {{"listChanged", true}}}}));
  EXPECT_EQ(of("files").initialized, 1U);
  client->notify("notifications/roots/list_changed");
  EXPECT_EQ(of("files").next()["method"], "notifications/roots/list_changed");
  EXPECT_EQ(told<link::InstanceRequest>().size(), 1U);  // the other one was not needed
}

TEST_F(Aggregated, a_call_reaches_its_server_byte_for_byte_but_for_its_name) {
  auto client = ready_client();
  client->send_raw(
      R"({"jsonrpc":"2.0","id":"x","params":{ "name" : "notes__read","arguments":{"a":1.0,"a":10000000000000000000001}},"method":"tools/call"})");
  const auto line = of("notes").next_raw();
  EXPECT_NE(line.find(R"("params":{ "name" : "read","arguments":{"a":1.0,"a":10000000000000000000001}})"),
            std::string::npos)
      << line;
  of("notes").send_raw(R"({"result":{"k":1e2,"k":2, "t":"\u00e9"},"id":)" + Json::parse(line)["id"].dump() +
                       R"(,"jsonrpc":"2.0"})");
  EXPECT_EQ(client->next_raw(), R"({"result":{"k":1e2,"k":2, "t":"\u00e9"},"id":"x","jsonrpc":"2.0"})");
}

TEST_F(Aggregated, a_name_may_be_spelled_with_escapes) {
  auto client = ready_client();
  client->send_raw(R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"notes\u005f_r\u0065ad"}})");
  EXPECT_EQ(of("notes").next()["params"]["name"], "read");
}

TEST_F(Aggregated, what_belongs_to_no_server_is_refused_clearly) {
  auto client = ready_client();
  for (const auto* name : {"read", "other__read", "__read", "files_read"}) {
    const auto answer = client->ask(name, "tools/call", {{"name", name}});
    EXPECT_EQ(answer["error"]["code"], -32602) << name;
    EXPECT_EQ(answer["error"]["message"], "Unknown tool: " + std::string(name));
  }
  EXPECT_EQ(client->ask(2, "tools/call", {{"name", 7}})["error"]["code"], -32602);
  EXPECT_EQ(client->ask(3, "prompts/get", Json::object())["error"]["code"], -32602);
  EXPECT_EQ(client->ask(4, "future/method")["error"]["code"], -32601);
  EXPECT_EQ(client->ask(5, "tasks/get", {{"taskId", "t"}})["error"]["code"], -32602);
  EXPECT_EQ(client->ask(6, "tools/list", {{"cursor", "hal9000-9"}})["error"]["code"], -32602);
  EXPECT_EQ(client->ask(7, "logging/setLevel", {{"level", "loud"}})["error"]["code"], -32602);
  EXPECT_EQ(client->ask(8, "resources/read", {{"uri", 1}})["error"]["code"], -32602);
}

TEST_F(Aggregated, an_id_in_flight_is_not_taken_twice_and_free_again_after_the_answer) {
  auto client = ready_client();
  client->send(request(5, "tools/call", {{"name", "files__read"}}));
  const auto call = of("files").next();
  EXPECT_EQ(client->ask(5, "tools/call", {{"name", "notes__read"}})["error"]["code"], -32600);
  of("files").answer(call, {{"ok", 1}});
  EXPECT_EQ(client->next()["result"]["ok"], 1);
  client->send(request(5, "tools/call", {{"name", "notes__read"}}));
  of("notes").answer(of("notes").next(), {{"ok", 2}});
  EXPECT_EQ(client->next()["result"]["ok"], 2);
}

TEST_F(Aggregated, cancellation_reaches_the_server_of_the_call_and_its_late_answer_nobody) {
  auto client = ready_client();
  client->send(request("c", "tools/call", {{"name", "notes__read"}}));
  const auto call = of("notes").next();
  client->notify("notifications/cancelled", {{"requestId", "c"}, {"reason", "enough"}});
  const auto cancelled = of("notes").next();
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["params"]["requestId"], call["id"]);
  of("notes").answer(call, Json::object());
  EXPECT_TRUE(client->ask(1, "ping").contains("result"));
  run_ready(loop);
  EXPECT_TRUE(client->lines.empty());
  EXPECT_TRUE(of("files").lines.empty());
}

TEST_F(Aggregated, progress_keeps_the_clients_token_and_no_server_can_use_anothers) {
  add_server("files2", link::ServerMode::session);
  hub->add_worker({{"a"}, 1000, {"files", "files2", "notes"}, UniqueFd()});
  auto client = all();
  client->send(request("s", "tools/call", {{"name", "files2__x"}}));
  client->send(request("p", "tools/call", {{"name", "notes__read"}, {"_meta", {{"progressToken", "mine"}}}}));
  start_all({"files2", "notes"});
  const auto at_session = of("files2").next();
  const auto call = of("notes").next();
  // In mode "session" messages pass as they are, so this server can name any token.
  of("files2").send(notification("notifications/progress", {{"progressToken", "mine"}, {"progress", 66}}));
  of("files2").answer(at_session, {{"ok", 1}});
  EXPECT_EQ(client->next()["id"], "s");
  of("notes").send(notification("notifications/progress",
                                {{"progressToken", call["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
  of("notes").answer(call, {{"ok", 2}});
  const auto progress = client->next();
  EXPECT_EQ(progress["params"], Json({{"progressToken", "mine"}, {"progress", 1}}));
  EXPECT_EQ(client->next()["result"]["ok"], 2);
}

TEST_F(Aggregated, questions_of_two_servers_do_not_collide) {
  auto client = ready_client({{"roots", Json::object()}});
  client->send(request(1, "tools/call", {{"name", "files__read"}}));
  client->send(request(2, "tools/call", {{"name", "notes__read"}}));
  (void)of("files").next();
  (void)of("notes").next();
  of("files").send(request(7, "roots/list", {{"of", "files"}}));
  of("notes").send(request(7, "roots/list", {{"of", "notes"}}));
  std::map<std::string, Json> asked;
  for (int i = 0; i < 2; ++i) {
    const auto question = client->next();
    asked[question["params"]["of"]] = question["id"];
  }
  EXPECT_NE(asked["files"], asked["notes"]);
  client->send({{"jsonrpc", "2.0"}, {"id", asked["notes"]}, {"result", {{"roots", {1}}}}});
  client->send({{"jsonrpc", "2.0"}, {"id", asked["files"]}, {"result", {{"roots", {2}}}}});
  client->send({{"jsonrpc", "2.0"}, {"id", asked["files"]}, {"result", {{"roots", {3}}}}});
  EXPECT_EQ(of("notes").next()["result"]["roots"], Json({1}));
  const auto answer = of("files").next();
  EXPECT_EQ(answer["id"], 7);
  EXPECT_EQ(answer["result"]["roots"], Json({2}));
  EXPECT_TRUE(client->ask(3, "ping").contains("result"));
  run_ready(loop);
  EXPECT_TRUE(of("files").lines.empty());
}

TEST_F(Aggregated, a_question_that_is_withdrawn_or_whose_server_dies_is_withdrawn_at_the_client) {
  auto client = ready_client({{"roots", Json::object()}});
  client->send(request(1, "tools/call", {{"name", "files__read"}}));
  (void)of("files").next();
  of("files").send(request("q", "roots/list"));
  const auto first = client->next();
  of("files").send(notification("notifications/cancelled", {{"requestId", "q"}}));
  EXPECT_EQ(client->next()["params"]["requestId"], first["id"]);
  of("files").send(request("r", "roots/list"));
  const auto second = client->next();
  crash(of("files"), "files", "exited with code 1");
  std::set<std::string> seen;
  for (int i = 0; i < 2; ++i) {
    const auto message = client->next();
    seen.insert(message.contains("method") ? message["method"].get<std::string>()
                                           : message["error"]["message"].get<std::string>());
  }
  EXPECT_TRUE(seen.contains("notifications/cancelled"));
  EXPECT_TRUE(seen.contains("server files exited with code 1, restarting"));
}

TEST_F(Aggregated, the_level_is_told_to_all_that_log_and_to_those_that_come_later) {
  auto client = all();
  EXPECT_EQ(client->ask(1, "logging/setLevel", {{"level", "warning"}})["result"], Json::object());
  client->send(request(2, "tools/call", {{"name", "files__read"}}));
  start_all({"files"});
  EXPECT_EQ(of("files").next_of("logging/setLevel")["params"]["level"], "warning");
  EXPECT_EQ(client->ask(3, "logging/setLevel", {{"level", "debug"}})["result"], Json::object());
  EXPECT_EQ(of("files").next_of("logging/setLevel")["params"]["level"], "debug");
  of("files").send(notification("notifications/message", {{"level", "info"}, {"data", "x"}}));
  EXPECT_EQ(client->next()["params"]["data"], "x");
}

TEST_F(Aggregated, rules_counters_and_reports_are_those_of_the_servers) {
  policy::ToolRules rules;
  rules.deny.push_back({"write*", {}});
  add_server("files", link::ServerMode::shared, rules);
  auto client = ready_client();
  const auto refused = client->ask(1, "tools/call", {{"name", "files__write_it"}});
  EXPECT_EQ(refused["result"]["isError"], true);
  EXPECT_NE(refused.dump().find("write_it of server files"), std::string::npos) << refused;
  ASSERT_TRUE(run_until(loop, [&] {
    for (auto* report : told<link::ServerReport>()) {
      if (report->name == "files" && report->traffic.refused == 1) {
        return true;
      }
    }
    return false;
  }));
  for (auto* report : told<link::ServerReport>()) {
    EXPECT_TRUE(report->name == "files" || report->name == "notes") << report->name;
  }
}

TEST_F(Aggregate, rules_of_the_worker_hold_for_the_tools_own_names) {
  link::WorkerAdd worker{{"w"}, 1000, {"files", "notes"}, {}, {}, {}};
  auto listener = io::listen_unix(folder / "w.sock", SOCK_STREAM, 0600);
  worker.listener = std::move(*listener);
  policy::ToolRules rules;
  rules.allow = {"read*"};
  worker.tools.push_back({"*", rules});
  hub->add_worker(std::move(worker));
  auto client = all(Json::object(), "w");
  client->send(request(1, "tools/call", {{"name", "files__read_it"}}));
  start_all({"files"});
  of("files").answer(of("files").next(), {{"ok", 1}});
  EXPECT_EQ(client->next()["result"]["ok"], 1);
  EXPECT_EQ(client->ask(2, "tools/call", {{"name", "files__write_it"}})["result"]["isError"], true);
}

TEST_F(Aggregate, instructions_known_from_one_session_are_told_to_the_next) {
  instructions = std::string(8192, 'i');
  auto first = all();
  first->send(request(1, "tools/call", {{"name", "files__read"}}));
  start_all({"files"});
  (void)of("files").next();
  auto second = connect("a");
  second->initialize("*");
  const auto told = second->next()["result"]["instructions"].get<std::string>();
  EXPECT_EQ(told, "files (tools files__*): " + std::string(limits::instructions_bytes, 'i'));
  hub->remove_server("files");
  EXPECT_FALSE(connect_and_initialize()["result"].contains("instructions"));
}

TEST_F(Aggregate, sixty_four_sessions_use_two_processes) {
  add_worker("b", {"files", "notes"});
  std::vector<std::unique_ptr<RelayPeer>> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(all(Json::object(), i % 2 == 0 ? "a" : "b"));
    clients.back()->send(request(i, "tools/call", {{"name", i % 3 == 0 ? "files__x" : "notes__x"}, {"who", i}}));
  }
  start_all({"files", "notes"});
  for (auto& [name, process] : process_of) {
    process->on_message = [process = process](const Json& message) {
      process->answer(message, {{"who", message["params"]["who"]}});
    };
  }
  for (int i = 0; i < 64; ++i) {
    const auto answer = clients[static_cast<std::size_t>(i)]->next();
    EXPECT_EQ(answer["id"], i);
    EXPECT_EQ(answer["result"]["who"], i);
  }
  EXPECT_EQ(of("files").handshakes + of("notes").handshakes, 2U);
}

}  // namespace
}  // namespace hal::hub::test
