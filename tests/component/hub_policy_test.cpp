// Rules for tools, counters and the audit, in both modes.
#include "base/log.hpp"
#include "hub/audit_log.hpp"
#include "hub_support.hpp"

#include <unistd.h>

#include <gtest/gtest.h>

namespace hal::hub::test {
namespace {

using hal::test::run_until;

policy::ToolRules rules(std::optional<std::vector<std::string>> allow, std::vector<policy::DenyRule> deny = {}) {
  return {"mcp.json: tools", std::move(allow), std::move(deny)};
}

Json call(const Json& id, const std::string& tool, const Json& arguments = Json::object()) {
  return request(id, "tools/call", {{"name", tool}, {"arguments", arguments}});
}

/** Both modes. */
class Policy : public HubTest, public testing::WithParamInterface<link::ServerMode> {
 public:
  void start(const policy::ToolRules& of_server) {
    add_server("s", GetParam(), of_server);
    add_worker("a", {"s"});
    client = connect("a");
    client->initialize("s");
    process = &start_process("s");
    EXPECT_EQ(client->next()["result"]["serverInfo"]["name"], "fake");
    client->notify("notifications/initialized");
  }

  /** The worker's own rules, for servers that fit the pattern. */
  void restrict(const std::string& server, policy::ToolRules own) {
    link::WorkerAdd message{{"a"}, 1000, {"s"}, {}, ""};
    own.origin = "profile";
    message.tools.push_back({server, std::move(own)});
    hub->add_worker(std::move(message));
  }

  /** The call is answered without the server. */
  std::string refusal_of(const Json& message) {
    client->send(message);
    const auto answer = client->next();
    EXPECT_EQ(answer["id"], message["id"]);
    EXPECT_EQ(answer["result"]["isError"], true) << answer;
    return answer["result"]["content"][0].value("text", "");
  }

  /** The call reaches the server, and its answer the client. */
  void expect_passes(const Json& message) {
    client->send(message);
    const auto seen = process->next();
    EXPECT_EQ(seen["params"], message["params"]);
    process->answer(seen, {{"content", Json::array()}});
    EXPECT_EQ(client->next()["id"], message["id"]);
  }

  std::unique_ptr<RelayPeer> client;
  FakeProcess* process = nullptr;
};

INSTANTIATE_TEST_SUITE_P(modes, Policy, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

TEST_P(Policy, a_refused_call_never_reaches_the_server) {
  start(rules(std::vector<std::string>{"read_*"}, {{"read_secret", {}}, {"read_file", {{"/path", "\"/etc/*\""}}}}));
  EXPECT_EQ(refusal_of(call(1, "write")),
            "Tool write of server s may not be called: mcp.json: tools.allow does not name it.");
  EXPECT_EQ(refusal_of(call("x", "read_secret")),
            "Tool read_secret of server s may not be called: mcp.json: tools.deny[0] refuses it.");
  EXPECT_EQ(refusal_of(call(3, "read_file", {{"path", "/etc/shadow"}})),
            "Tool read_file of server s may not be called: mcp.json: tools.deny[1] refuses it with these arguments.");
  client->send_raw(
      R"({"jsonrpc":"2.0","id":4,"method":"tools\/call","params":{"n\u0061me":"wr\u0069te","arguments":{}}})");
  EXPECT_EQ(client->next()["result"]["isError"], true);
  expect_passes(call(5, "read_file", {{"path", "/tmp/x"}}));
  EXPECT_TRUE(process->lines.empty());
}

TEST_P(Policy, a_task_that_is_refused_gets_an_error) {
  start(rules(std::vector<std::string>{}));
  client->send(request(1, "tools/call", {{"name", "x"}, {"task", {{"ttl", 1000}}}}));
  const auto answer = client->next();
  EXPECT_EQ(answer["error"]["code"], -32602) << answer;
}

TEST_P(Policy, lists_lose_what_may_not_be_called_and_keep_all_else) {
  start(rules(std::nullopt, {{"x*", {}}, {"cond", {{"/a", "1"}}}}));
  for (int page = 0; page < 2; ++page) {
    client->send(request(page, "tools/list"));
    const auto id = process->next()["id"].dump();
    const std::string head = R"({"result": {"tools":[)";
    const std::string kept = R"({"name":"cond","n":1.50},  {"name":"a","inputSchema":{"$schema":"x"}})";
    const std::string tail = R"(],"nextCursor":"c","_meta":{"k":[ ]}},"jsonrpc":"2.0","id":)";
    process->send_raw(head + R"({"name":"x1"},)" + kept + R"(, {"name":"xx"})" + tail + id + "}");
    EXPECT_EQ(client->next_raw(), head + kept + tail + std::to_string(page) + "}");
  }
  // Another method's result that looks like a list is its own.
  client->send(request(9, "other/list"));
  process->answer(process->next(), {{"tools", {{{"name", "x1"}}}}});
  EXPECT_EQ(client->next()["result"]["tools"].size(), 1U);
}

TEST_P(Policy, the_id_of_an_open_list_cannot_be_used_to_see_it_whole) {
  start(rules(std::vector<std::string>{"a"}));
  client->send(request(1, "tools/list"));
  client->send(request(1, "ping"));
  EXPECT_EQ(client->next()["error"]["code"], -32600);
  process->answer(process->next(), {{"tools", {{{"name", "a"}}, {{"name", "b"}}}}});
  EXPECT_EQ(client->next()["result"]["tools"].size(), 1U);
}

TEST_P(Policy, nor_can_the_id_of_a_cancelled_one) {
  start(rules(std::vector<std::string>{"a"}));
  client->send(request(1, "tools/list"));
  const auto list = process->next();
  client->notify("notifications/cancelled", {{"requestId", 1}});
  (void)process->next_of("notifications/cancelled");
  client->send(request(1, "other"));
  const auto other = process->next();
  process->answer(list, {{"tools", {{{"name", "a"}}, {{"name", "b"}}}}});
  process->answer(other, {{"tools", {{{"name", "a"}}}}});
  EXPECT_EQ(client->next()["result"]["tools"].size(), 1U);
}

TEST_P(Policy, a_workers_rules_bind_its_open_sessions_too) {
  start({});
  expect_passes(call(1, "w"));
  restrict("s", rules(std::vector<std::string>{"r"}));
  EXPECT_EQ(refusal_of(call(2, "w")), "Tool w of server s may not be called: profile.allow does not name it.");
  expect_passes(call(3, "r"));
  restrict("other*", rules(std::vector<std::string>{}));
  expect_passes(call(4, "w"));
}

TEST_P(Policy, a_batch_is_no_way_around) {
  add_server("s", GetParam(), rules(std::vector<std::string>{"r"}));
  add_worker("a", {"s"});
  client = connect("a");
  EXPECT_NE(client->open("s"), "");
  client->send(request(0, "initialize",
                       {{"protocolVersion", "2025-03-26"},
                        {"capabilities", Json::object()},
                        {"clientInfo", {{"name", "t"}, {"version", "1"}}}}));
  process = &start_process("s");
  process->revision = "2025-03-26";
  EXPECT_EQ(client->next()["result"]["protocolVersion"], "2025-03-26");
  client->notify("notifications/initialized");
  client->send(Json::array({call(1, "w"), call(2, "r")}));
  const auto passed = process->next();
  EXPECT_EQ(passed["params"]["name"], "r");
  process->answer(passed, Json::object());
  const auto answers = client->next();
  ASSERT_EQ(answers.size(), 2U) << answers;
  EXPECT_EQ(answers[0]["result"]["isError"], true);
  EXPECT_EQ(answers[1]["id"], 2);
  EXPECT_TRUE(process->lines.empty());
}

TEST_P(Policy, traffic_is_counted_for_server_and_session) {
  start(rules(std::nullopt, {{"x", {}}}));
  expect_passes(call(1, "a"));
  (void)refusal_of(call(2, "x"));
  client->send(call(3, "b"));
  process->send({{"jsonrpc", "2.0"}, {"id", process->next()["id"]}, {"error", {{"code", 1}, {"message", "m"}}}});
  EXPECT_EQ(client->next()["error"]["code"], 1);
  ASSERT_TRUE(run_until(loop, [&] {
    const auto reports = told<link::ServerReport>();
    return !reports.empty() && reports.back()->traffic.errors == 1;
  }));
  const auto& report = *told<link::ServerReport>().back();
  ASSERT_EQ(report.sessions.size(), 1U);
  EXPECT_EQ(report.sessions[0].worker, "a");
  EXPECT_EQ(report.sessions[0].owner, 1000U);
  EXPECT_EQ(report.sessions[0].session.size(), 8U);
  for (const auto& traffic : {report.traffic, report.sessions[0].traffic}) {
    EXPECT_EQ(traffic.requests, 4U);
    EXPECT_EQ(traffic.calls, 3U);
    EXPECT_EQ(traffic.refused, 1U);
    EXPECT_EQ(traffic.errors, 1U);
    EXPECT_GT(traffic.received_bytes, 200U);
    EXPECT_GT(traffic.sent_bytes, 200U);
    std::uint64_t answered = 0;
    for (const auto count : traffic.latency.counts) {
      answered += count;
    }
    EXPECT_EQ(answered, 3U);  // initialize and two calls; not the refused one
  }
}

/** What is written to stderr meanwhile. */
class Audit : public Policy {
 public:
  Audit() { log::set_max_level(log::Level::info); }
  ~Audit() override { log::set_max_level(log::Level::error); }

  /** The audit lines, in order, once there are so many. */
  std::vector<std::string> lines(std::size_t count) {
    std::vector<std::string> found;
    EXPECT_TRUE(run_until(loop, [&] {
      std::fflush(stderr);
      written_ += testing::internal::GetCapturedStderr();
      testing::internal::CaptureStderr();
      found.clear();
      std::size_t at = 0;
      for (auto end = written_.find('\n'); end != std::string::npos; end = written_.find('\n', at)) {
        if (const auto line = written_.substr(at, end - at); line.find("HAL9000_OUTCOME=") != std::string::npos) {
          found.push_back(line);
        }
        at = end + 1;
      }
      return found.size() >= count;
    })) << written_;
    return found;
  }

 private:
  std::string written_;
};

INSTANTIATE_TEST_SUITE_P(modes, Audit, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

TEST_P(Audit, every_call_leaves_one_line_with_who_what_and_how_it_ended) {
  testing::internal::CaptureStderr();
  start(rules(std::nullopt, {{"x", {}}}));
  expect_passes(call(1, "fine", {{"secret", "pass-word"}}));
  (void)refusal_of(call(2, "x"));
  client->send(call(3, "fails"));
  process->answer(process->next(), {{"content", Json::array()}, {"isError", true}});
  (void)client->next();
  client->send(call(4, "late"));
  (void)process->next();
  client->notify("notifications/cancelled", {{"requestId", 4}});
  (void)process->next_of("notifications/cancelled");
  client->send(call(5, "open"));
  (void)process->next();
  client->hang_up();
  const auto all = lines(5);
  testing::internal::GetCapturedStderr();
  ASSERT_EQ(all.size(), 5U);
  const std::pair<std::string, std::string> expected[] = {
      {"fine", "ok"}, {"x", "refused"}, {"fails", "tool-error"}, {"late", "cancelled"}, {"open", "gone"}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_NE(all[i].find("HAL9000_WORKER=a HAL9000_OWNER=1000 HAL9000_SERVER=s"), std::string::npos) << all[i];
    EXPECT_NE(all[i].find("HAL9000_TOOL=" + expected[i].first + " "), std::string::npos) << all[i];
    EXPECT_NE(all[i].find("HAL9000_OUTCOME=" + expected[i].second + " HAL9000_DURATION_USEC="), std::string::npos)
        << all[i];
    EXPECT_EQ(all[i].find("pass-word"), std::string::npos) << all[i];
    EXPECT_NE(all[i].find("HAL9000_ARGUMENTS=sha256:"), std::string::npos) << all[i];
  }
}

TEST(AuditArguments, are_hashed_or_told_or_neither) {
  EXPECT_EQ(audit_arguments(link::Audit::hash, "{}"),
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
  EXPECT_EQ(audit_arguments(link::Audit::arguments, R"({"a":1})"), R"({"a":1})");
  EXPECT_EQ(audit_arguments(link::Audit::off, "{}"), "");
  EXPECT_EQ(audit_arguments(link::Audit::hash, ""), "");
  const std::string large(100000, ' ');
  EXPECT_TRUE(audit_arguments(link::Audit::hash, large).ends_with(":100000"));
}

}  // namespace
}  // namespace hal::hub::test
