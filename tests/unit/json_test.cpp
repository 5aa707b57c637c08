#include "json/json.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::json {
namespace {

std::string nested(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(JsonParse, reads_every_kind_of_value) {
  const auto value = parse(R"({"a":[1,-2,2.5,true,false,null,"é\u00e9",{}],"b":18446744073709551615})");
  ASSERT_TRUE(value.has_value()) << value.error().message;
  EXPECT_EQ(dump(*value), R"({"a":[1,-2,2.5,true,false,null,"éé",{}],"b":18446744073709551615})");
}

TEST(JsonParse, refuses_what_is_no_json_with_its_place) {
  for (const auto* text :
       {"", " ", "{", "[1,]", "{\"a\":1,}", "nul", "1 2", "\"\x01\"", "\"\xff\"", "1e999", "{a:1}"}) {
    const auto value = parse(text);
    ASSERT_FALSE(value.has_value()) << text;
    EXPECT_EQ(value.error().code, Errc::protocol) << text;
  }
  const auto error = parse("{\n  \"a\": x\n}").error();
  EXPECT_NE(error.message.find("line 2, column 8"), std::string::npos) << error.message;
}

TEST(JsonParse, refuses_a_key_that_stands_twice) {
  const auto value = parse(R"({"a":{"k":1,"k":2}})");
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().code, Errc::protocol);
  EXPECT_NE(value.error().message.find("\"k\""), std::string::npos);
  EXPECT_TRUE(parse(R"([{"k":1},{"k":2}])").has_value());
}

TEST(JsonParse, holds_its_limits_exactly) {
  EXPECT_TRUE(parse(nested(limits::json_depth)).has_value());
  EXPECT_EQ(parse(nested(limits::json_depth + 1)).error().code, Errc::limit);
  EXPECT_EQ(parse(nested(1'000'000)).error().code, Errc::limit);
  EXPECT_EQ(parse(std::string(1'000'000, '[')).error().code, Errc::limit);

  const Limits small{.bytes = 10, .depth = 2, .values = 3};
  EXPECT_TRUE(parse("[1,2]", small).has_value());
  EXPECT_EQ(parse("[1,2,3]", small).error().code, Errc::limit);
  EXPECT_TRUE(parse("         1", small).has_value());
  EXPECT_EQ(parse("          1", small).error().code, Errc::limit);
}

TEST(JsonDump, never_throws_on_bad_utf8_or_depth) {
  EXPECT_EQ(dump(nlohmann::json("a\xff z")), "\"a\xEF\xBF\xBD z\"");
  nlohmann::json deep = 1;
  for (int i = 0; i < 10'000; ++i) {
    deep = nlohmann::json::array({std::move(deep)});
  }
  const auto text = dump(deep);
  EXPECT_EQ(text, std::string(limits::json_depth, '[') + "null" + std::string(limits::json_depth, ']'));
  EXPECT_EQ(dump_pretty(nlohmann::json{{"a", 1}}), "{\n  \"a\": 1\n}");
}

TEST(JsonReaders, give_the_value_or_an_error_with_the_whole_path) {
  const auto document =
      *parse(R"({"s":"x","u":5,"i":-5,"d":2.5,"b":true,"o":{},"a":["x","y"],"mixed":["x",1],"n":null})");
  EXPECT_EQ(*string_at(document, "s"), "x");
  EXPECT_EQ(*unsigned_at(document, "u"), 5U);
  EXPECT_EQ(*integer_at(document, "i"), -5);
  EXPECT_EQ(*integer_at(document, "u"), 5);
  EXPECT_EQ(*number_at(document, "d"), 2.5);
  EXPECT_TRUE(*bool_at(document, "b"));
  EXPECT_TRUE((*object_at(document, "o"))->empty());
  EXPECT_EQ(strings_at(document, "a")->size(), 2U);
  EXPECT_EQ((*array_at(document, "a"))->size(), 2U);

  EXPECT_EQ(string_at(document, "u", "servers.m").error().message, "servers.m.u: must be a string");
  EXPECT_EQ(string_at(document, "zz").error().message, "zz: is missing");
  EXPECT_EQ(string_at(document, "n").error().message, "n: is missing");
  EXPECT_EQ(unsigned_at(document, "i").error().message, "i: must be a non-negative integer");
  EXPECT_EQ(unsigned_at(document, "d").error().message, "d: must be a non-negative integer");
  EXPECT_EQ(strings_at(document, "mixed", "x").error().message, "x.mixed[1]: must be a string");
  EXPECT_EQ(string_at(nlohmann::json(1), "a", "x.y").error().message, "x.y: must be an object");
}

TEST(JsonReaders, tell_absent_from_wrong) {
  const auto document = *parse(R"({"s":"x","n":null})");
  EXPECT_EQ(*optional_string_at(document, "s"), "x");
  EXPECT_FALSE(optional_string_at(document, "n")->has_value());
  EXPECT_FALSE(optional_unsigned_at(document, "zz")->has_value());
  EXPECT_FALSE(optional_unsigned_at(document, "s").has_value());
  EXPECT_TRUE(optional_strings_at(document, "zz")->empty());
  EXPECT_FALSE(optional_strings_at(document, "s").has_value());
  EXPECT_EQ(*optional_object_at(document, "zz"), nullptr);
  EXPECT_FALSE(optional_object_at(document, "s").has_value());
}

TEST(JsonReaders, refuse_unknown_keys) {
  const auto document = *parse(R"({"a":1,"b":2})");
  EXPECT_TRUE(only_keys(document, {"a", "b", "c"}).has_value());
  EXPECT_EQ(only_keys(document, {"a"}, "x").error().message, "x.b: is no known key");
}

TEST(JsonReaders, take_numbers_built_by_hand) {
  const nlohmann::json document{{"n", 5}, {"big", 18446744073709551615U}};
  EXPECT_EQ(*unsigned_at(document, "n"), 5U);
  EXPECT_EQ(*unsigned_at(document, "big"), 18446744073709551615U);
  EXPECT_FALSE(integer_at(document, "big").has_value());
}

}  // namespace
}  // namespace hal::json
