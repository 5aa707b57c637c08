#include "json/json.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/places.hpp"
#include "policy/tools.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::policy {
namespace {

ToolRules rules(std::string_view text) {
  const auto object = json::parse(text);
  EXPECT_TRUE(object) << text;
  auto read = read_tool_rules(*object, "tools");
  EXPECT_TRUE(read) << (read ? "" : read.error().message);
  auto result = read ? *std::move(read) : ToolRules{};
  result.origin = "here";
  return result;
}

std::string error_of(std::string_view text) {
  const auto read = read_tool_rules(*json::parse(text), "tools");
  return read ? "no error" : read.error().message;
}

TEST(Glob, fits_or_not) {
  struct Row {
    std::string_view pattern, text;
    bool fits;
  };
  const Row rows[] = {
      {"", "", true},
      {"", "a", false},
      {"a", "a", true},
      {"a", "A", false},
      {"a", "ab", false},
      {"*", "", true},
      {"*", "any/thing", true},
      {"a*", "abc", true},
      {"a*", "ba", false},
      {"*c", "abc", true},
      {"a*c", "ac", true},
      {"a*c", "abcd", false},
      {"?", "a", true},
      {"?", "", false},
      {"?", "ab", false},
      {"a?c*", "abcdef", true},
      {"*ab*ab", "abxab", true},
      {"*ab*ab", "ab", false},
      {"**", "x", true},
      {"a**b", "ab", true},
      {"[a]", "a", false},
      {"[a]", "[a]", true},
      {"/etc/*", "/etc/x/y", true},
      {"a\\*", "a*", false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(glob_matches(row.pattern, row.text), row.fits) << row.pattern << " on " << row.text;
  }
}

TEST(Glob, takes_no_exponential_time) {
  const std::string text(20000, 'a');
  EXPECT_FALSE(glob_matches("*a*a*a*a*a*a*a*a*a*b", text));
}

TEST(ToolRules, allow_and_deny_as_the_table_says) {
  struct Row {
    std::string_view rules, tool, arguments;
    bool passes, listed;
  };
  const Row rows[] = {
      {R"({})", "any", "", true, true},
      {R"({"allow":[]})", "any", "", false, false},
      {R"({"allow":["read_*","ls"]})", "read_file", "{}", true, true},
      {R"({"allow":["read_*","ls"]})", "write_file", "{}", false, false},
      {R"({"allow":["*"]})", "", "", true, true},
      {R"({"allow":["a*"]})", "", "", false, false},
      {R"({"deny":["write_*"]})", "write_file", "", false, false},
      {R"({"deny":["write_*"]})", "read_file", "", true, true},
      {R"({"allow":["*_file"],"deny":["write_*"]})", "write_file", "", false, false},
      {R"({"deny":[{"tool":"write_*"}]})", "write_file", "", false, false},
      {R"({"deny":[{"tool":"w","arguments":{"/path":"/etc/*"}}]})", "w", R"({"path":"/etc/passwd"})", false, true},
      {R"({"deny":[{"tool":"w","arguments":{"/path":"/etc/*"}}]})", "w", R"({"path":"/tmp/x"})", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/path":"/etc/*"}}]})", "w", "", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/path":"/etc/*"}}]})", "v", R"({"path":"/etc/passwd"})", true, true},
      // However it is spelled, and whichever of two a server would take.
      {R"({"deny":[{"tool":"w","arguments":{"/path":"/etc/*"}}]})", "w", R"({"p\u0061th":"\/etc\/x"})", false, true},
      {R"({"deny":[{"tool":"w","arguments":{"/path":"/etc/*"}}]})", "w", R"({"path":"/etc/x","path":"/a"})", false,
       true},
      {R"({"deny":[{"tool":"w","arguments":{"/path":"/etc/*"}}]})", "w", R"({"path":"/a","path":"/etc/x"})", false,
       true},
      // Every element of an array.
      {R"({"deny":[{"tool":"w","arguments":{"/paths":"/etc/*"}}]})", "w", R"({"paths":["/a", "/etc/x"]})", false, true},
      {R"({"deny":[{"tool":"w","arguments":{"/paths":"/etc/*"}}]})", "w", R"({"paths":[]})", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/paths/1":"/etc/*"}}]})", "w", R"({"paths":["/etc/x","/a"]})", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/a/0/b":"x"}}]})", "w", R"({"a":[{"c":1,"b":"x"}]})", false, true},
      {R"({"deny":[{"tool":"w","arguments":{"/a~1b/m~0n":"x"}}]})", "w", R"({"a/b":{"m~n":"x"}})", false, true},
      // All conditions together.
      {R"({"deny":[{"tool":"w","arguments":{"/a":"x","/b":"y"}}]})", "w", R"({"a":"x"})", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/a":"x","/b":"y"}}]})", "w", R"({"b":"y","a":"x"})", false, true},
      // Other values than strings.
      {R"({"deny":[{"tool":"w","arguments":{"/n":5}}]})", "w", R"({"n":5.0})", false, true},
      {R"({"deny":[{"tool":"w","arguments":{"/n":5}}]})", "w", R"({"n":"5"})", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/n":true}}]})", "w", R"({"n": true })", false, true},
      {R"({"deny":[{"tool":"w","arguments":{"/n":true}}]})", "w", R"({"n":false})", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/n":null}}]})", "w", R"({"n":null})", false, true},
      {R"({"deny":[{"tool":"w","arguments":{"/n":"*"}}]})", "w", R"({"n":7})", true, true},
      {R"({"deny":[{"tool":"w","arguments":{"/n":"*"}}]})", "w", R"({"n":{"n":"x"}})", true, true},
  };
  for (const auto& row : rows) {
    const auto read = rules(row.rules);
    EXPECT_EQ(!refusal(read, row.tool, row.arguments), row.passes) << row.rules << " on " << row.arguments;
    EXPECT_EQ(may_be_listed(read, row.tool), row.listed) << row.rules;
  }
}

TEST(ToolRules, a_refusal_names_the_rule) {
  const auto read = rules(R"({"allow":["w*"],"deny":["x",{"tool":"w","arguments":{"/p":"y"}}]})");
  EXPECT_EQ(refusal(read, "v", ""), "here.allow does not name it");
  EXPECT_EQ(refusal(read, "w", R"({"p":"y"})"), "here.deny[1] refuses it with these arguments");
}

TEST(ToolRules, errors_name_the_place) {
  struct Row {
    std::string_view rules, begin;
  };
  const Row rows[] = {
      {R"([])", "tools: must be an object"},
      {R"({"alow":[]})", "tools.alow"},
      {R"({"allow":"x"})", "tools.allow: must be an array"},
      {R"({"allow":["a",1]})", "tools.allow[1]: must be a string"},
      {R"({"allow":[""]})", "tools.allow[0]: must have 1 to"},
      {R"({"deny":[5]})", "tools.deny[0]: must be a pattern"},
      {R"({"deny":["a",{"arguments":{"/a":1}}]})", "tools.deny[1].tool: is missing"},
      {R"({"deny":[{"tool":"a","args":{}}]})", "tools.deny[0].args"},
      {R"({"deny":[{"tool":"a","arguments":{}}]})", "tools.deny[0].arguments: must be an object with 1"},
      {R"({"deny":[{"tool":"a","arguments":{"path":"x"}}]})", "tools.deny[0].arguments[\"path\"]: is no JSON pointer"},
      {R"({"deny":[{"tool":"a","arguments":{"/a~2":"x"}}]})", "tools.deny[0].arguments[\"/a~2\"]: is no JSON pointer"},
      {R"({"deny":[{"tool":"a","arguments":{"/a":[1]}}]})", "tools.deny[0].arguments[\"/a\"]: must be a string, a"},
  };
  for (const auto& row : rows) {
    EXPECT_TRUE(error_of(row.rules).starts_with(row.begin)) << row.rules << ": " << error_of(row.rules);
  }
}

TEST(ToolRules, come_back_from_their_text) {
  const auto read = rules(R"({"allow":["w*"],"deny":["x",{"tool":"w","arguments":{"/p":"y","/q":2.5,"/r":null}}]})");
  const auto again = from_text(to_text(read));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_text(*again), to_text(read));
  EXPECT_EQ(again->origin, "here");
  EXPECT_TRUE(refusal(*again, "w", R"({"p":"y","q":2.5,"r":null})"));
  EXPECT_EQ(from_text("{}").error().code, Errc::protocol);
  EXPECT_EQ(from_text(R"({"origin":"x","rules":{"allow":1}})").error().code, Errc::protocol);
}

}  // namespace
}  // namespace hal::policy

namespace hal::jsonrpc {
namespace {

std::string without(std::string_view object) {
  const auto out = without_named(object, "tools", [](std::string_view name) { return name.starts_with("x"); });
  return out.value_or("same");
}

TEST(Places, elements_leave_and_all_else_stays) {
  EXPECT_EQ(without(R"({"tools":[{"name":"a"}],"nextCursor":"c"})"), "same");
  EXPECT_EQ(without(R"({"tools":[]})"), "same");
  EXPECT_EQ(without(R"({"tools":{"name":"x"}})"), "same");
  EXPECT_EQ(without(R"({"other":[{"name":"x"}]})"), "same");
  EXPECT_EQ(without(R"({"tools":[{"name":"x"}]})"), R"({"tools":[]})");
  EXPECT_EQ(without(R"({"tools":[ {"name":"x"} , {"name":"x2"} ],"n":1})"), R"({"tools":[  ],"n":1})");
  EXPECT_EQ(without(R"({"tools":[{"name":"x"}, {"name":"a"}]})"), R"({"tools":[{"name":"a"}]})");
  EXPECT_EQ(without(R"({"tools":[{"name":"a"}, {"name":"x"}]})"), R"({"tools":[{"name":"a"}]})");
  EXPECT_EQ(
      without(
          R"({"a":1.0, "tools":[{"name":"x1"},{"name":"a","t":1e2},{"name":"x2"},{"name":"x3"},{"name":"b"}] ,"z":[]})"),
      R"({"a":1.0, "tools":[{"name":"a","t":1e2},{"name":"b"}] ,"z":[]})");
  EXPECT_EQ(without(R"({"tools":[5,{"name":7},{"n\u0061me":"\u0078"},{"x":"x"}]})"),
            R"({"tools":[5,{"name":7},{"x":"x"}]})");
}

TEST(Places, the_scan_finds_tool_arguments_and_failure) {
  const std::string_view call =
      R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":[1]}}})";
  const auto message = scan(call);
  EXPECT_EQ(message.name, "\"t\"");
  EXPECT_EQ(message.arguments, R"({"a":[1]})");
  EXPECT_EQ(scan(R"({"jsonrpc":"2.0","id":1,"method":"m","params":{"name":"t","name":"u"}})").kind, Kind::invalid);
  const auto failed = scan(R"({"jsonrpc":"2.0","id":1,"result":{"isError":true}})");
  EXPECT_EQ(failed.kind, Kind::result);
  EXPECT_EQ(failed.is_error, "true");
  EXPECT_EQ(failed.outcome, R"({"isError":true})");
  EXPECT_EQ(scan(R"({"jsonrpc":"2.0","id":1,"result":{},"result":{}})").kind, Kind::invalid);
}

}  // namespace
}  // namespace hal::jsonrpc
