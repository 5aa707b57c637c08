#include "hub/handshake.hpp"
#include "hub/hub_limits.hpp"
#include "hub/in_flight.hpp"
#include "hub/questions.hpp"
#include "hub/routes.hpp"
#include "hub/subscriptions.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::hub {
namespace {

constexpr ClientId a{1};
constexpr ClientId b{2};
using Decision = Subscriptions::Decision;

Request forwarded(ClientId client, std::string id) {
  Request request;
  request.purpose = Purpose::forward;
  request.client = client;
  request.id = std::move(id);
  return request;
}

TEST(Routes, have_a_row_for_what_needs_one_and_a_rule_for_the_rest) {
  EXPECT_EQ(up_request_route("initialize"), UpRoute::answer_initialize);
  EXPECT_EQ(up_request_route("tools/call"), UpRoute::forward_request);
  EXPECT_EQ(up_request_route("future/method"), UpRoute::forward_request);
  EXPECT_EQ(up_request_route("tasks/list"), UpRoute::forward_task_list);
  EXPECT_EQ(up_notification_route("notifications/cancelled"), UpRoute::map_cancelled);
  EXPECT_EQ(up_notification_route("notifications/future"), UpRoute::forward_notification);
  EXPECT_EQ(down_request_route("roots/list"), DownRoute::ask_client);
  EXPECT_EQ(down_request_route("future/method"), DownRoute::ask_client);
  EXPECT_EQ(down_notification_route("notifications/future"), DownRoute::to_only_candidate);
}

TEST(InFlight, never_uses_a_number_twice_and_forgets_what_was_taken) {
  InFlight table;
  const auto first = table.add(forwarded(a, "1"));
  EXPECT_EQ(table.take(first).id, "1");
  const auto second = table.add(forwarded(a, "1"));
  EXPECT_NE(first, second);
  std::uint64_t number = 0;
  EXPECT_EQ(table.find(std::to_string(first), number), nullptr);
  EXPECT_NE(table.find(std::to_string(second), number), nullptr);
  for (const auto* raw : {"", "\"2\"", "2.0", "-1", "99999999999999999999999", "2 "}) {
    EXPECT_EQ(table.find(raw, number), nullptr) << raw;
  }
}

TEST(InFlight, keeps_the_ids_of_clients_apart_and_typed) {
  InFlight table;
  const auto of_a = table.add(forwarded(a, "1"));
  const auto of_b = table.add(forwarded(b, "1"));
  const auto text = table.add(forwarded(a, "\"1\""));
  EXPECT_EQ(table.find_of(a, "1"), of_a);
  EXPECT_EQ(table.find_of(b, "1"), of_b);
  EXPECT_EQ(table.find_of(a, "\"1\""), text);
  EXPECT_EQ(table.count_of(a), 2U);
  EXPECT_EQ(table.waiting_clients(), (std::set{a, b}));
}

TEST(InFlight, a_cancelled_request_is_forgotten_at_once) {
  InFlight table;
  const auto number = table.add(forwarded(a, "1"));
  table.cancel(number, {});
  EXPECT_EQ(table.find(number), nullptr);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_NE(table.add(forwarded(a, "1")), number);
}

TEST(InFlight, a_cancelled_one_that_makes_a_task_frees_its_id_and_waits_for_its_late_answer_only_so_long) {
  InFlight table;
  const auto now = Clock::time_point(std::chrono::seconds(100));
  auto request = forwarded(a, "1");
  request.makes_task = true;
  const auto number = table.add(request);
  table.cancel(number, now + std::chrono::seconds(60));
  EXPECT_FALSE(table.find_of(a, "1"));
  EXPECT_TRUE(table.find(number)->cancelled);
  const auto again = table.add(forwarded(a, "1"));
  EXPECT_EQ(table.find_of(a, "1"), again);
  std::optional<Clock::time_point> next;
  EXPECT_TRUE(table.overdue(now, next).empty());
  EXPECT_EQ(next, now + std::chrono::seconds(60));
  EXPECT_EQ(table.overdue(now + std::chrono::seconds(60), next), std::vector{number});
  (void)table.take(number);
  EXPECT_EQ(table.find_of(a, "1"), again);
}

TEST(InFlight, of_cancelled_ones_that_make_tasks_the_oldest_is_forgotten) {
  InFlight table;
  auto request = forwarded(a, "1");
  request.makes_task = true;
  const auto first = table.add(request);
  table.cancel(first, {});
  for (std::size_t i = 0; i < limits::cancelled_tasks; ++i) {
    EXPECT_EQ(table.size(), i + 1);
    EXPECT_NE(table.find(first), nullptr);
    table.cancel(table.add(request), {});
  }
  EXPECT_EQ(table.size(), limits::cancelled_tasks);
  EXPECT_EQ(table.find(first), nullptr);
}

TEST(Subscriptions, ask_for_the_first_and_the_last_only) {
  Subscriptions subscriptions;
  EXPECT_EQ(subscriptions.subscribe(a, "x"), Decision::ask);
  EXPECT_EQ(subscriptions.subscribe(b, "x"), Decision::wait);
  EXPECT_TRUE(subscriptions.wait("x", {b, "line"}));
  EXPECT_EQ(subscriptions.settle("x", a, true, true).size(), 1U);
  EXPECT_EQ(subscriptions.subscribe(b, "x"), Decision::done);
  EXPECT_EQ(subscriptions.unsubscribe(a, "x"), Decision::done);
  EXPECT_EQ(subscriptions.unsubscribe(a, "x"), Decision::done);
  EXPECT_EQ(subscriptions.unsubscribe(b, "x"), Decision::ask);
  EXPECT_TRUE(subscriptions.settle("x", b, false, true).empty());
  EXPECT_TRUE(subscriptions.uris().empty());
}

TEST(Subscriptions, do_not_count_what_was_refused) {
  Subscriptions subscriptions;
  EXPECT_EQ(subscriptions.subscribe(a, "x"), Decision::ask);
  EXPECT_TRUE(subscriptions.settle("x", a, true, false).empty());
  EXPECT_TRUE(subscriptions.subscribers("x").empty());
  EXPECT_EQ(subscriptions.subscribe(b, "x"), Decision::ask);
}

TEST(Subscriptions, tell_of_the_resource_and_what_is_below_it) {
  Subscriptions subscriptions;
  (void)subscriptions.subscribe(a, "file:///dir");
  (void)subscriptions.settle("file:///dir", a, true, true);
  EXPECT_EQ(subscriptions.subscribers("file:///dir"), std::set{a});
  EXPECT_EQ(subscriptions.subscribers("file:///dir/file"), std::set{a});
  EXPECT_TRUE(subscriptions.subscribers("file:///directory").empty());
  EXPECT_TRUE(subscriptions.subscribers("file:///").empty());
}

TEST(Subscriptions, a_client_that_leaves_takes_its_wishes_along) {
  Subscriptions subscriptions;
  for (const auto* uri : {"x", "y"}) {
    (void)subscriptions.subscribe(a, uri);
    (void)subscriptions.settle(uri, a, true, true);
  }
  EXPECT_EQ(subscriptions.subscribe(b, "x"), Decision::done);
  EXPECT_EQ(subscriptions.remove(a), std::vector<std::string>{"y"});
  EXPECT_EQ(subscriptions.subscribers("x"), std::set{b});
}

TEST(Questions, are_answered_once_and_by_whom_they_were_put_to) {
  Questions questions;
  const auto number = questions.add({a, "\"q\""});
  ASSERT_TRUE(number);
  EXPECT_FALSE(questions.take(b, std::to_string(*number)));
  EXPECT_FALSE(questions.take(a, "\"" + std::to_string(*number) + "\""));
  EXPECT_EQ(questions.take(a, std::to_string(*number))->server_id, "\"q\"");
  EXPECT_FALSE(questions.take(a, std::to_string(*number)));
}

TEST(Handshake, offers_the_union_of_what_clients_can_be_asked) {
  const auto one =
      read_client_hello(R"({"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true},"tasks":{}}})");
  const auto two = read_client_hello(R"({"protocolVersion":"2025-06-18","capabilities":{"elicitation":{}}})");
  ASSERT_TRUE(one && two);
  const auto params = nlohmann::json::parse(server_hello_params({*one, *two}));
  EXPECT_EQ(params["capabilities"],
            nlohmann::json({{"roots", {{"listChanged", true}}}, {"elicitation", nlohmann::json::object()}}));
  EXPECT_EQ(params["protocolVersion"], newest_revision);
  EXPECT_FALSE(read_client_hello("{}").has_value());
  EXPECT_FALSE(read_client_hello("").has_value());
  EXPECT_FALSE(read_client_hello(R"({"protocolVersion":5})").has_value());
}

TEST(Handshake, gives_each_client_the_older_of_two_revisions) {
  const auto server = read_server_hello(
      R"({"protocolVersion":"2025-06-18","capabilities":{"tasks":{},"tools":{}},"serverInfo":{"name":"n"}})");
  ASSERT_TRUE(server.has_value());
  const std::pair<const char*, const char*> cases[] = {{"2024-11-05", "2024-11-05"},
                                                       {"2025-06-18", "2025-06-18"},
                                                       {"2025-11-25", "2025-06-18"},
                                                       {"1.0", "2025-06-18"},
                                                       {"2026-07-28", "2025-06-18"}};
  for (const auto& [asked, given] : cases) {
    const auto result = nlohmann::json::parse(result_for(*server, asked));
    EXPECT_EQ(result["protocolVersion"], given) << asked;
    EXPECT_EQ(result["capabilities"], nlohmann::json({{"tools", nlohmann::json::object()}}));
  }
  EXPECT_FALSE(read_server_hello(R"({"protocolVersion":"1999-01-01","capabilities":{}})").has_value());
  EXPECT_FALSE(read_server_hello(R"({"protocolVersion":"2025-06-18"})").has_value());
}

TEST(Handshake, ranks_log_levels) {
  EXPECT_EQ(*log_level_rank("debug"), 0);
  EXPECT_EQ(*log_level_rank("emergency"), 7);
  EXPECT_FALSE(log_level_rank("loud").has_value());
  EXPECT_EQ(log_level_name(*read_log_level(R"({"level":"warning"})")), "warning");
}

}  // namespace
}  // namespace hal::hub
