#include "hub_support.hpp"

namespace hal::hub::test {
namespace {

/** Clients of one server that makes tasks. */
class SharedTasks : public Shared {
 public:
  std::unique_ptr<RelayPeer> client_with_tasks(const std::string& worker, const Json& capabilities = Json::object()) {
    auto client = connect(worker);
    client->initialize("s", capabilities);
    if (process == nullptr) {
      process = &start_process("s");
      process->capabilities = {{"tools", Json::object()},
                               {"tasks",
                                {{"list", Json::object()},
                                 {"cancel", Json::object()},
                                 {"requests", {{"tools", {{"call", Json::object()}}}}}}}};
    }
    const auto answer = client->next();
    EXPECT_TRUE(answer["result"]["capabilities"].contains("tasks")) << answer;
    client->notify("notifications/initialized");
    return client;
  }

  /** `client` calls a tool as a task, which the server names `id`; the number of the call at the server. */
  Json make_task(RelayPeer& client, const std::string& id, const Json& token = nullptr) {
    Json params = {{"name", "slow"}, {"task", {{"ttl", 60000}}}};
    if (!token.is_null()) {
      params["_meta"]["progressToken"] = token;
    }
    client.send(request("make " + id, "tools/call", params));
    const auto call = process->next_of("tools/call");
    EXPECT_EQ(call["params"]["task"]["ttl"], 60000);
    process->answer(call, {{"task", {{"taskId", id}, {"status", "working"}, {"ttl", 60000}}}});
    EXPECT_EQ(client.next()["result"]["task"]["taskId"], id);
    return call["id"];
  }

  void status(const std::string& id, const std::string& status) {
    process->send(notification("notifications/tasks/status", {{"taskId", id}, {"status", status}}));
  }
};

TEST_F(SharedTasks, a_task_is_its_makers_and_nobody_elses) {
  auto a = client_with_tasks("a");
  auto b = client_with_tasks("b");
  make_task(*a, "t1");
  for (const auto* method : {"tasks/get", "tasks/result", "tasks/cancel"}) {
    const auto refused = b->ask(method, method, {{"taskId", "t1"}});
    EXPECT_EQ(refused["error"]["code"], -32602) << method;
    a->send(request(method, method, {{"taskId", "t1"}, {"big", 1.0}}));
    const auto asked = process->next();
    EXPECT_EQ(asked["method"], method);
    process->answer(asked, {{"taskId", "t1"}, {"status", "working"}});
    EXPECT_EQ(a->next()["id"], method);
  }
  EXPECT_TRUE(process->lines.empty());
}

TEST_F(SharedTasks, status_and_related_messages_go_to_the_owner_only) {
  auto a = client_with_tasks("a", {{"elicitation", Json::object()}});
  auto b = client_with_tasks("b", {{"elicitation", Json::object()}});
  make_task(*a, "t1");
  make_task(*b, "t2");
  status("t2", "input_required");
  status("t1", "working");
  status("nobody's", "working");
  EXPECT_EQ(a->next()["params"]["taskId"], "t1");
  EXPECT_EQ(b->next()["params"]["taskId"], "t2");
  a->send(request(5, "tools/call"));  // were it not for the task, a would be the one to be asked
  (void)process->next();
  const Json related = {{"io.modelcontextprotocol/related-task", {{"taskId", "t2"}}}};
  process->send(request(1, "elicitation/create", {{"message", "?"}, {"_meta", related}}));
  const auto asked = b->next();
  EXPECT_EQ(asked["method"], "elicitation/create");
  b->send({{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"result", {{"action", "accept"}}}});
  EXPECT_EQ(process->next()["result"]["action"], "accept");
  process->send(notification("notifications/message", {{"level", "info"}, {"data", "x"}, {"_meta", related}}));
  EXPECT_EQ(b->next()["method"], "notifications/message");
  EXPECT_EQ(a->ask(6, "ping")["id"], 6);
}

TEST_F(SharedTasks, progress_goes_on_until_the_task_ends) {
  auto a = client_with_tasks("a");
  auto b = client_with_tasks("b");
  const auto number = make_task(*a, "t1", "mine");
  const auto progress = [&](int value) {
    process->send(notification("notifications/progress", {{"progressToken", number}, {"progress", value}}));
  };
  progress(1);
  EXPECT_EQ(a->next()["params"], Json({{"progressToken", "mine"}, {"progress", 1}}));
  status("t1", "completed");
  EXPECT_EQ(a->next()["params"]["status"], "completed");
  progress(2);
  EXPECT_EQ(a->ask(1, "ping")["id"], 1);
  EXPECT_EQ(b->ask(1, "ping")["id"], 1);
}

TEST_F(SharedTasks, a_list_has_the_clients_own_tasks_only) {
  auto a = client_with_tasks("a");
  auto b = client_with_tasks("b");
  make_task(*a, "t1");
  make_task(*b, "t2");
  a->send(request(1, "tasks/list", {{"cursor", "c"}}));
  const auto asked = process->next();
  EXPECT_EQ(asked["params"]["cursor"], "c");
  process->answer(asked, {{"tasks",
                           {{{"taskId", "t1"}, {"status", "working"}, {"ttl", nullptr}},
                            {{"taskId", "t2"}, {"status", "working"}},
                            {{"taskId", "t3"}, {"status", "working"}}}},
                          {"nextCursor", "d"}});
  EXPECT_EQ(a->next()["result"],
            Json({{"tasks", {{{"taskId", "t1"}, {"status", "working"}, {"ttl", nullptr}}}}, {"nextCursor", "d"}}));
}

TEST_F(SharedTasks, the_result_of_a_task_may_take_longer_than_other_answers) {
  link::ServerSet limits;
  limits.name = "s";
  limits.request_timeout_ms = 100;
  hub->set_server(limits);
  auto a = client_with_tasks("a");
  make_task(*a, "t1");
  a->send(request("r", "tasks/result", {{"taskId", "t1"}}));
  const auto waiting = process->next();
  a->send(request("short", "tools/call"));
  EXPECT_EQ(a->next()["error"]["code"], -32001);  // 100 ms have passed
  process->answer(waiting, {{"content", "late"}});
  EXPECT_EQ(a->next(), Json({{"jsonrpc", "2.0"}, {"id", "r"}, {"result", {{"content", "late"}}}}));
}

TEST_F(SharedTasks, a_client_that_leaves_has_its_tasks_cancelled) {
  auto a = client_with_tasks("a");
  auto b = client_with_tasks("b");
  make_task(*a, "t1");
  make_task(*a, "done");
  make_task(*b, "t2");
  status("done", "completed");
  a->next();
  a->send(request("unmade", "tools/call", {{"task", {{"ttl", 1}}}}));
  const auto unmade = process->next();
  a->hang_up();
  EXPECT_EQ(process->next_of("tasks/cancel")["params"]["taskId"], "t1");
  process->answer(unmade, {{"task", {{"taskId", "t4"}, {"status", "working"}}}});
  EXPECT_EQ(process->next_of("tasks/cancel")["params"]["taskId"], "t4");
  b->send(request(1, "tasks/get", {{"taskId", "t2"}}));
  EXPECT_EQ(process->next()["method"], "tasks/get");
}

TEST_F(SharedTasks, a_new_process_knows_no_old_tasks) {
  auto a = client_with_tasks("a");
  make_task(*a, "t1");
  crash(*process, "s", "exited with code 1");
  process = &start_process("s");
  process->capabilities = {{"tasks", {{"cancel", Json::object()}}}};
  const auto answer = a->ask(1, "tasks/get", {{"taskId", "t1"}});
  EXPECT_EQ(answer["error"]["code"], -32602);
}

TEST_F(SharedTasks, older_clients_are_not_told_of_tasks) {
  auto a = client_with_tasks("a");
  auto old = connect("b");
  old->open("s");
  const auto answer = old->ask(0, "initialize", {{"protocolVersion", "2025-06-18"}, {"capabilities", Json::object()}});
  EXPECT_FALSE(answer["result"]["capabilities"].contains("tasks"));
  EXPECT_TRUE(answer["result"]["capabilities"].contains("tools"));
}

}  // namespace
}  // namespace hal::hub::test
