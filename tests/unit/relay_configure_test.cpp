#include "relay/configure.hpp"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::relay {
namespace {

using nlohmann::json;

json merged(const std::string& existing, const std::vector<std::string>& servers,
            const std::vector<std::string>& others = {}) {
  const auto text = merge(existing, {servers, others});
  EXPECT_TRUE(text) << (text ? "" : text.error().message);
  return text ? json::parse(*text) : json();
}

json entry(const std::string& name) {
  return {{"type", "stdio"}, {"command", "/usr/local/bin/hal9000-mcp"}, {"args", {name}}};
}

TEST(Configure, a_new_file_has_the_servers_and_the_answers) {
  for (const char* existing : {"", " \n", "{}"}) {
    const json expected = {
        {"hasCompletedOnboarding", true},
        {"mcpServers", {{"a", entry("a")}, {"b", entry("b")}}},
        {"projects", {{"/workspace", {{"hasTrustDialogAccepted", true}, {"hasCompletedProjectOnboarding", true}}}}}};
    EXPECT_EQ(merged(existing, {"a", "b"}), expected);
  }
}

TEST(Configure, what_is_foreign_is_kept) {
  const std::string existing = R"({
    "numStartups": 12345678901234567, "f": 0.1, "unicode": "\u00e4\n", "none": null, "deep": [[[{"a":[]}]]],
    "hasCompletedOnboarding": false,
    "mcpServers": {"own": {"type":"stdio","command":"/usr/bin/mine","args":[]}, "remote": {"type":"http","url":"x"},
                   "odd": 7},
    "projects": {"/workspace": {"allowedTools": ["x"], "hasTrustDialogAccepted": false}, "/other": {"k": 1}}})";
  json expected = json::parse(existing);
  expected["hasCompletedOnboarding"] = true;
  expected["mcpServers"]["a"] = entry("a");
  expected["projects"]["/workspace"]["hasTrustDialogAccepted"] = true;
  expected["projects"]["/workspace"]["hasCompletedProjectOnboarding"] = true;
  EXPECT_EQ(merged(existing, {"a"}), expected);
}

TEST(Configure, ours_go_when_no_longer_offered) {
  const auto first = merge("{\"mcpServers\":{\"own\":{\"command\":\"x\"}}}", {{"a", "b"}, {}});
  ASSERT_TRUE(first);
  const auto second = merged(*first, {"b"});
  EXPECT_EQ(second["mcpServers"], (json{{"own", {{"command", "x"}}}, {"b", entry("b")}}));
}

/** One home has the servers of all its workers; which are whose is for each one's managed settings to say. */
TEST(Configure, those_of_other_workers_stay) {
  const auto first = merge("", {{"a", "b"}, {}});
  ASSERT_TRUE(first);
  EXPECT_EQ(merged(*first, {"c"}, {"b"})["mcpServers"], (json{{"b", entry("b")}, {"c", entry("c")}}));
  EXPECT_EQ(merged("", {"c"}, {"b"})["mcpServers"], (json{{"c", entry("c")}})) << "made by whom they are for";
}

TEST(Configure, nothing_to_change_leaves_every_byte) {
  const auto first = merge("", {{"a"}, {}});
  ASSERT_TRUE(first);
  const std::string compact = json::parse(*first).dump();
  const auto second = merge(compact, {{"a"}, {}});
  ASSERT_TRUE(second);
  EXPECT_EQ(*second, compact);
}

TEST(Configure, half_an_emoji_does_not_stop_it) {
  const auto result = merged(
      R"({"cut":"a\ud83d","low":"\uDE00b","whole":"\ud83d\ude00","text":"\\ud83d","two":"\ud83d\ud83d\ude00"})", {"a"});
  EXPECT_EQ(result["cut"], "a\xef\xbf\xbd");
  EXPECT_EQ(result["low"],
            "\xef\xbf\xbd"
            "b");
  EXPECT_EQ(result["whole"], "\xf0\x9f\x98\x80");
  EXPECT_EQ(result["text"], "\\ud83d") << "an escaped backslash is none of it";
  EXPECT_EQ(result["two"], "\xef\xbf\xbd\xf0\x9f\x98\x80");
  EXPECT_FALSE(merge("{\"a\":\"\\", {{"a"}, {}}));
  EXPECT_FALSE(merge("{\"a\":\"\\ud8", {{"a"}, {}}));
}

TEST(Configure, refuses_what_it_does_not_understand) {
  std::string deep;
  for (int i = 0; i < 100000; ++i) {
    deep += "[";
  }
  const std::string cases[] = {"{",
                               "not json",
                               "[]",
                               "7",
                               "{\"mcpServers\":[]}",
                               "{\"mcpServers\":\"x\"}",
                               "{\"projects\":7}",
                               "{\"projects\":{\"/workspace\":[]}}",
                               "{\"a\":1}{}",
                               "{\"a\":\"\xff\"}",
                               deep,
                               "{\"a\":" + deep};
  for (const auto& existing : cases) {
    EXPECT_FALSE(merge(existing, {{"a"}, {}})) << existing.substr(0, 40);
  }
}

TEST(Configure, reads_the_offered_servers) {
  const auto offer = read_offer("{\"servers\":[\"a\",\"memory-bank\"],\"others\":[\"c\"],\"later\":1}");
  ASSERT_TRUE(offer);
  EXPECT_EQ(offer->servers, (std::vector<std::string>{"a", "memory-bank"}));
  EXPECT_EQ(offer->others, (std::vector<std::string>{"c"}));
  EXPECT_TRUE(read_offer("{\"servers\":[]}")) << "of a daemon that knows no others";
  for (const char* text :
       {"", "{}", "[]", "{\"servers\":\"a\"}", "{\"servers\":[1]}", "{\"servers\":[\"\"]}", "{\"servers\":[\"../x\"]}",
        "{\"servers\":[\"a b\"]}", "{\"servers\":[],\"others\":[\"../x\"]}"}) {
    EXPECT_FALSE(read_offer(text)) << text;
  }
}

}  // namespace
}  // namespace hal::relay
