#include "hub_aggregate_support.hpp"

namespace hal::hub::test {
namespace {

using hal::test::run_ready;

/** Two servers that list resources, one URI in common. */
class AggregateResources : public Aggregate {
 public:
  std::unique_ptr<RelayPeer> listed() {
    auto client = all();
    client->send(request("resources", "resources/list"));
    start_all({"files", "notes"});
    answer_list("resources/list", "resources", "uri", {"file:///a", "common:x"}, {"note:b", "common:x"});
    EXPECT_EQ(client->next()["result"]["resources"].size(), 4U);
    client->send(request("templates", "resources/templates/list"));
    answer_list("resources/templates/list", "resourceTemplates", "uriTemplate", {"file:///{path}"},
                {"note:{id}", "file:///notes/{id}"});
    EXPECT_EQ(client->next()["result"]["resourceTemplates"].size(), 3U);
    return client;
  }

  void answer_list(const std::string& method, const std::string& key, const std::string& id,
                   const std::vector<std::string>& of_files, const std::vector<std::string>& of_notes) {
    for (const auto& [server, uris] : {std::pair("files", of_files), std::pair("notes", of_notes)}) {
      Json elements = Json::array();
      for (const auto& uri : uris) {
        elements.push_back({{id, uri}, {"name", "n"}});
      }
      of(server).answer(of(server).next_of(method), {{key, elements}});
    }
  }

  void refuse(const std::string& server) {
    const auto asked = of(server).next();
    of(server).send(
        {{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"error", {{"code", -32002}, {"message", "none at " + server}}}});
  }
  Json read(RelayPeer& client, const std::string& uri, const std::string& server) {
    client.send(request("read", "resources/read", {{"uri", uri}}));
    const auto asked = of(server).next();
    EXPECT_EQ(asked["params"]["uri"], uri);
    of(server).answer(asked, {{"by", server}});
    return client.next()["result"]["by"];
  }
};

TEST_F(AggregateResources, are_read_from_the_server_that_lists_them_the_first_by_name_of_several) {
  auto client = listed();
  EXPECT_EQ(read(*client, "note:b", "notes"), "notes");
  EXPECT_EQ(read(*client, "file:///a", "files"), "files");
  EXPECT_EQ(read(*client, "common:x", "files"), "files");
}

TEST_F(AggregateResources, of_templates_are_read_from_the_server_whose_template_begins_most_like_them) {
  auto client = listed();
  EXPECT_EQ(read(*client, "file:///notes/7", "notes"), "notes");
  EXPECT_EQ(read(*client, "file:///other", "files"), "files");
  EXPECT_EQ(read(*client, "note:9", "notes"), "notes");
}

TEST_F(AggregateResources, nobody_lists_are_asked_of_all_one_after_the_other) {
  auto client = listed();
  client->send(request(1, "resources/read", {{"uri", "odd:1"}}));
  refuse("files");
  of("notes").answer(of("notes").next(), {{"by", "notes"}});
  EXPECT_EQ(client->next()["result"]["by"], "notes");
  EXPECT_EQ(read(*client, "odd:1", "notes"), "notes");  // known from now on
  client->send(request(2, "resources/read", {{"uri", "odd:2"}}));
  refuse("files");
  refuse("notes");
  EXPECT_EQ(client->next()["error"]["message"], "none at files");
  client->send(request(3, "resources/read", {{"uri", "odd:3"}}));
  refuse("files");
  (void)of("notes").next();
  client->notify("notifications/cancelled", {{"requestId", 3}});
  EXPECT_EQ(of("notes").next()["method"], "notifications/cancelled");
}

TEST_F(AggregateResources, that_were_never_listed_are_looked_for_in_the_lists_first) {
  auto client = all();
  client->send(request(1, "resources/subscribe", {{"uri", "note:b"}}));
  start_all({"files", "notes"});
  answer_list("resources/list", "resources", "uri", {"file:///a"}, {"note:b"});
  answer_list("resources/templates/list", "resourceTemplates", "uriTemplate", {}, {});
  of("notes").answer(of("notes").next_of("resources/subscribe"), Json::object());
  EXPECT_EQ(client->next()["id"], 1);
  run_ready(loop);
  EXPECT_TRUE(of("files").lines.empty());
}

TEST_F(AggregateResources, nobody_lists_are_looked_for_behind_a_server_that_is_not_there) {
  auto client = all();
  client->send(request(1, "resources/read", {{"uri", "odd:1"}}));
  ASSERT_TRUE(wait_told<link::InstanceRequest>(2));
  hub->unavailable({"files", std::nullopt, "no such program", 60'000});
  start(*told<link::InstanceRequest>()[1]);
  for (const auto* key : {"resources", "resourceTemplates"}) {
    of("notes").answer(of("notes").next(), {{key, Json::array()}});
  }
  const auto asked = of("notes").next_of("resources/read");
  of("notes").answer(asked, {{"by", "notes"}});
  EXPECT_EQ(client->next()["result"]["by"], "notes");
  client->send(request(2, "resources/read", {{"uri", "odd:2"}}));
  refuse("notes");
  const auto failed = client->next();
  EXPECT_EQ(failed["id"], 2);
  EXPECT_EQ(failed["error"]["code"], -32055) << failed;
}

TEST_F(AggregateResources, subscriptions_end_where_they_began_and_updates_come_once) {
  auto client = listed();
  client->send(request(1, "resources/subscribe", {{"uri", "odd:s"}}));
  refuse("files");
  of("notes").answer(of("notes").next(), Json::object());
  EXPECT_EQ(client->next()["result"], Json::object());
  of("notes").send(notification("notifications/resources/updated", {{"uri", "odd:s"}}));
  EXPECT_EQ(client->next()["params"]["uri"], "odd:s");
  client->send(request(2, "resources/unsubscribe", {{"uri", "odd:s"}}));
  of("notes").answer(of("notes").next(), Json::object());
  EXPECT_EQ(client->next()["id"], 2);
  run_ready(loop);
  EXPECT_TRUE(of("files").lines.empty());
}

TEST_F(AggregateResources, completions_go_to_the_server_of_the_prompt_or_the_template) {
  auto client = listed();
  client->send(request(1, "completion/complete",
                       {{"ref", {{"type", "ref/prompt"}, {"name", "notes__p"}}}, {"argument", {{"name", "x"}}}}));
  const auto of_prompt = of("notes").next();
  EXPECT_EQ(of_prompt["params"]["ref"]["name"], "p");
  EXPECT_EQ(of_prompt["params"]["argument"]["name"], "x");
  client->send(
      request(2, "completion/complete",
              {{"ref", {{"type", "ref/resource"}, {"uri", "file:///notes/{id}"}}}, {"argument", {{"name", "id"}}}}));
  EXPECT_EQ(of("notes").next()["params"]["ref"]["uri"], "file:///notes/{id}");
  EXPECT_EQ(client->ask(3, "completion/complete", {{"ref", {{"name", "p"}}}})["error"]["code"], -32602);
}

TEST_F(Aggregate, tasks_carry_their_servers_name) {
  auto client = all({{"elicitation", Json::object()}});
  client->send(request(1, "tools/call",
                       {{"name", "notes__slow"}, {"task", {{"ttl", 1000}}}, {"_meta", {{"progressToken", "t"}}}}));
  start_all({"notes"});
  auto& notes = of("notes");
  const auto call = notes.next();
  notes.answer(call, {{"task", {{"taskId", "7"}, {"status", "working"}}}});
  EXPECT_EQ(client->next()["result"]["task"]["taskId"], "notes__7");
  notes.send(notification("notifications/progress",
                          {{"progressToken", call["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
  EXPECT_EQ(client->next()["params"]["progressToken"], "t");
  notes.send(notification("notifications/tasks/status", {{"taskId", "7"}, {"status", "working"}}));
  EXPECT_EQ(client->next()["params"]["taskId"], "notes__7");

  const Json related = {{"io.modelcontextprotocol/related-task", {{"taskId", "7"}}}};
  notes.send(request("q", "elicitation/create", {{"message", "?"}, {"_meta", related}}));
  const auto question = client->next();
  const auto with_name = question["params"]["_meta"];
  EXPECT_EQ(with_name["io.modelcontextprotocol/related-task"]["taskId"], "notes__7");
  client->send({{"jsonrpc", "2.0"}, {"id", question["id"]}, {"result", {{"action", "accept"}, {"_meta", with_name}}}});
  EXPECT_EQ(notes.next()["result"]["_meta"], related);

  client->send(request(2, "tasks/get", {{"taskId", "notes__7"}}));
  const auto get = notes.next();
  EXPECT_EQ(get["params"]["taskId"], "7");
  notes.answer(get, {{"taskId", "7"}, {"status", "completed"}});
  EXPECT_EQ(client->next()["result"]["taskId"], "notes__7");
  client->send(request(3, "tasks/result", {{"taskId", "notes__7"}}));
  notes.answer(notes.next(), {{"content", Json::array()}, {"_meta", related}});
  EXPECT_EQ(client->next()["result"]["_meta"], with_name);

  client->send(request(4, "tasks/list"));
  start_all({"files"});
  of("files").answer(of("files").next_of("tasks/list"), {{"tasks", Json::array()}});
  notes.answer(notes.next_of("tasks/list"), {{"tasks", {{{"taskId", "7"}, {"status", "completed"}}}}});
  EXPECT_EQ(names(client->next()["result"]["tasks"], "taskId"), Json({"notes__7"}));
  EXPECT_EQ(client->ask(5, "tasks/get", {{"taskId", "7"}})["error"]["code"], -32602);
}

}  // namespace
}  // namespace hal::hub::test
