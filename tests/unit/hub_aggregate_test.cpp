#include "hub/aggregate_hello.hpp"
#include "hub/hub_limits.hpp"
#include "hub/member_names.hpp"
#include "hub/merged_list.hpp"
#include "hub/resource_index.hpp"

#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::hub {
namespace {

using Json = nlohmann::json;

IsServer among(std::set<std::string> names) {
  return [names = std::move(names)](std::string_view name) { return names.contains(std::string(name)); };
}

TEST(MemberNames, are_split_at_the_longest_known_server) {
  const auto known = among({"a", "a__b", "c_"});
  EXPECT_EQ(server_of("a__x", known), "a");
  EXPECT_EQ(server_of("a__b__x", known), "a__b");
  EXPECT_EQ(server_of("a__bx", known), "a");
  EXPECT_EQ(server_of("c___x", known), "c_");
  EXPECT_EQ(server_of("a__", known), "a");
  for (const auto* name : {"", "__", "__x", "a", "a_x", "b__x", "xa__y"}) {
    EXPECT_EQ(server_of(name, known), "") << name;
  }
}

TEST(MemberNames, keep_the_spelling_of_what_follows) {
  const auto known = among({"a"});
  EXPECT_EQ(split_name(R"("a__x")", known)->raw, R"("x")");
  EXPECT_EQ(split_name("\"a__\xC3\xA9\"", known)->raw, "\"\xC3\xA9\"");
  EXPECT_EQ(split_name(R"("\u0061__x\"y")", known)->raw, R"("x\"y")");
  for (const auto* raw : {"", "7", "\"\"", "\"a\"", "null", "{\"a__x\":1}"}) {
    EXPECT_FALSE(split_name(raw, known)) << raw;
  }
}

TEST(MemberNames, are_set_before_strings_in_place) {
  EXPECT_EQ(with_server_at(R"({"task": {"taskId" : "7","n":1.0}})", "/task/taskId", "s"),
            R"({"task": {"taskId" : "s__7","n":1.0}})");
  EXPECT_EQ(with_server_at(R"({"task":{"taskId":7}})", "/task/taskId", "s"), R"({"task":{"taskId":7}})");
  EXPECT_EQ(with_server_at(R"({"a":"1","a":"2"})", "/a", "s"), R"({"a":"s__1","a":"s__2"})");
  EXPECT_EQ(with_server_at("7", "/a", "s"), "7");
}

TEST(MemberPage, has_what_can_be_called_and_the_cursor) {
  const auto page = read_member_page(
      R"({"_meta":{},"tools":[{"name":"x","name":"y"},{"name":7},null,{"name":"b__z"}],"nextCursor":"c\n"})", "tools",
      "name", true, "a", among({"a", "a__b"}));
  EXPECT_EQ(page.elements, R"({"name":"a__x","name":"a__y"})");
  EXPECT_EQ(page.next, R"("c\n")");
  for (const auto* result : {"{}", "7", R"({"tools":{}})", R"({"tools":[],"nextCursor":null})"}) {
    const auto none = read_member_page(result, "tools", "name", true, "a", among({"a"}));
    EXPECT_EQ(none.elements, "") << result;
    EXPECT_EQ(none.next, "") << result;
  }
}

TEST(MergedList, is_complete_when_every_part_is_and_orders_by_name) {
  MergedList list(List::tools, "1", {{"b", ""}, {"a", ""}}, {});
  EXPECT_TRUE(list.wants("a"));
  EXPECT_FALSE(list.wants("c"));
  list.asked("a");
  EXPECT_FALSE(list.wants("a"));
  EXPECT_TRUE(list.add("b", {"{\"n\":1}", "\"p2\"", {}}));
  EXPECT_TRUE(list.wants("b"));
  EXPECT_EQ(list.params("b"), R"({"cursor":"p2"})");
  EXPECT_EQ(list.missing(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(list.add("a", {"{\"n\":2}", "", {}}));
  EXPECT_FALSE(list.complete());
  list.wait_no_more();
  EXPECT_TRUE(list.complete());
  EXPECT_EQ(list.rest(), (ListPlaces{{"b", "\"p2\""}}));
  EXPECT_EQ(list.take_result("next"), R"({"tools":[{"n":2},{"n":1}],"nextCursor":"next"})");
}

TEST(MergedList, takes_no_page_beyond_its_bounds) {
  MergedList list(List::tools, "1", {{"a", ""}, {"b", ""}}, {});
  EXPECT_FALSE(list.add("a", {std::string(limits::list_page_bytes + 1, ' '), "", {}}));
  EXPECT_TRUE(list.add("b", {"1", "", {}}));
  EXPECT_TRUE(list.complete());
  EXPECT_EQ(list.take_result(""), R"({"tools":[1]})");
}

TEST(MergedList, ends_where_a_server_gives_the_same_cursor_again) {
  MergedList list(List::prompts, "1", {{"a", ""}}, {});
  EXPECT_TRUE(list.add("a", {"", "\"c\"", {}}));
  EXPECT_TRUE(list.add("a", {"", "\"c\"", {}}));
  EXPECT_TRUE(list.complete());
  EXPECT_TRUE(list.rest().empty());
}

TEST(Cursors, are_good_for_their_list_until_too_many_others_have_followed) {
  Cursors cursors;
  const auto first = cursors.add(List::tools, {{"a", "1"}});
  EXPECT_EQ(cursors.find(List::tools, first), (ListPlaces{{"a", "1"}}));
  EXPECT_FALSE(cursors.find(List::prompts, first));
  EXPECT_FALSE(cursors.find(List::tools, "other"));
  for (std::size_t i = 0; i < limits::cursors_per_session; ++i) {
    (void)cursors.add(List::tools, {});
  }
  EXPECT_FALSE(cursors.find(List::tools, first));
}

TEST(ResourceIndex, knows_owners_then_beginnings_then_everybody) {
  ResourceIndex index;
  index.add("x:1", "b");
  index.add("x:1", "a");
  index.add("x:1", "c");
  index.add_template("y:{id}", "c");
  index.add_template("y:long/{id}", "b");
  index.add_template("{any}", "b");
  const std::vector<std::string> all{"a", "b", "c"};
  EXPECT_EQ(index.candidates("x:1", all), (std::vector<std::string>{"a"}));
  EXPECT_EQ(index.candidates("y:7", all), (std::vector<std::string>{"c", "a", "b"}));
  EXPECT_EQ(index.candidates("y:long/7", all), (std::vector<std::string>{"b", "c", "a"}));
  EXPECT_EQ(index.candidates("z", all), all);
  EXPECT_EQ(index.candidates("y:{id}", all), (std::vector<std::string>{"c"}));
  index.remove("a");
  EXPECT_FALSE(index.knows("x:1"));
  for (std::size_t i = 0; i < 2 * limits::indexed_resources; ++i) {
    index.add(std::to_string(i), "a");
    index.add_template(std::to_string(i) + "{x}", "a");
  }
  EXPECT_FALSE(index.knows(std::to_string(2 * limits::indexed_resources - 1)));
  index.add(std::string(limits::indexed_uri_bytes + 1, 'u'), "a");
  EXPECT_FALSE(index.knows(std::string(limits::indexed_uri_bytes + 1, 'u')));
}

TEST(AggregateHello, has_the_revision_asked_for_if_it_is_known) {
  EXPECT_EQ(aggregate_revision("2024-11-05"), "2024-11-05");
  EXPECT_EQ(aggregate_revision("2025-11-25"), "2025-11-25");
  EXPECT_EQ(aggregate_revision("2030-01-01"), "2025-11-25");
  EXPECT_EQ(aggregate_revision(""), "2025-11-25");
}

TEST(AggregateHello, reads_what_a_member_can) {
  const auto hello = read_member_hello(
      R"({"capabilities":{"tools":{},"resources":{"subscribe":true},"logging":{},"tasks":{}},"instructions":"i"})");
  ASSERT_TRUE(hello.has_value());
  EXPECT_EQ(hello->has, (std::array<bool, list_count>{true, false, true, true, false}));
  EXPECT_TRUE(hello->logging);
  EXPECT_EQ(hello->instructions, "i");
  EXPECT_FALSE(read_member_hello("7").has_value());
  EXPECT_FALSE(read_member_hello("{}").has_value());
  EXPECT_FALSE(read_member_hello(R"({"capabilities":[]})").has_value());
}

}  // namespace
}  // namespace hal::hub
