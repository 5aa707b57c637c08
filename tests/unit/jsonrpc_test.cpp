#include "base/text.hpp"
#include "jsonrpc/batch.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/plain_text.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::jsonrpc {
namespace {

std::string nested(std::size_t depth) {
  return R"({"jsonrpc":"2.0","id":1,"result":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
}

TEST(Scan, finds_the_members_of_a_call_wherever_they_stand) {
  const std::string line =
      R"( {"params" : {"uri":"x:/","a":{"id":9,"method":"no"},"_meta":{"progressToken":"t\"1","k":[{}]},)"
      R"("requestId":7 , "taskId":"T"}, "id" :0,"method":"tools\/call","jsonrpc":"2.0"} )";
  const auto message = scan(line);
  ASSERT_EQ(message.kind, Kind::request) << message.problem;
  EXPECT_EQ(message.id, "0");
  EXPECT_EQ(message.method(), "tools/call");
  EXPECT_EQ(message.meta_progress_token, R"("t\"1")");
  EXPECT_EQ(message.request_id, "7");
  EXPECT_EQ(message.uri, "\"x:/\"");
  EXPECT_EQ(message.task_id, "\"T\"");
  EXPECT_EQ(message.params.front(), '{');
  EXPECT_EQ(message.params.back(), '}');
  EXPECT_GE(message.id.data(), line.data());
  EXPECT_LT(message.id.data(), line.data() + line.size());
}

TEST(Scan, tells_the_kinds_apart) {
  const std::pair<const char*, Kind> cases[] = {
      {R"({"jsonrpc":"2.0","id":"a","method":"ping"})", Kind::request},
      {R"({"jsonrpc":"2.0","id":-1.5e3,"method":"ping","params":[]})", Kind::request},
      {R"({"jsonrpc":"2.0","method":"notifications/initialized"})", Kind::notification},
      {R"({"jsonrpc":"2.0","id":1,"result":null})", Kind::result},
      {R"({"jsonrpc":"2.0","id":1,"result":{},"extra":1})", Kind::result},
      {R"({"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}})", Kind::error},
      {R"([{"jsonrpc":"2.0","method":"x"}])", Kind::batch},
      {R"([)", Kind::not_json},
      {R"({"jsonrpc":"2.0","id":1})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":1,"result":1,"error":1})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","result":1})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":null,"method":"x"})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":null,"result":1})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":[1],"method":"x"})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":true,"method":"x"})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":1,"method":5})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","params":"y"})", Kind::invalid},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":{}}}})", Kind::invalid},
      {R"({"jsonrpc":"1.0","id":1,"method":"x"})", Kind::invalid},
      {R"({"id":1,"method":"x"})", Kind::invalid},
      {R"({})", Kind::invalid},
      {R"(1)", Kind::not_json},
      {R"("x")", Kind::not_json},
      {R"(hello)", Kind::not_json},
      {R"()", Kind::not_json},
      {R"({"jsonrpc":"2.0","method":"x"} {})", Kind::not_json},
      {R"({"jsonrpc":"2.0","method":"x"}garbage)", Kind::not_json},
  };
  for (const auto& [line, kind] : cases) {
    EXPECT_EQ(scan(line).kind, kind) << line;
  }
}

TEST(Scan, keeps_the_id_of_an_invalid_request_for_the_answer) {
  EXPECT_EQ(scan(R"({"id":"a","method":"x"})").id, "\"a\"");
  EXPECT_EQ(scan(R"({"jsonrpc":"2.0","id":[1],"method":"x"})").id, "");
}

TEST(Scan, refuses_a_member_that_stands_twice_however_spelled) {
  for (const auto* line : {
           R"({"jsonrpc":"2.0","id":1,"id":2,"method":"x"})",
           R"({"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"x"})",
           R"({"jsonrpc":"2.0","id":1,"method":"x","method":"y"})",
           R"({"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}})",
           R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{},"_meta":{}}})",
           R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":1,"progressToken":2}}})",
           R"({"jsonrpc":"2.0","method":"x","params":{"requestId":1,"requestId":2}})",
       }) {
    EXPECT_EQ(scan(line).kind, Kind::invalid) << line;
  }
  EXPECT_EQ(scan(R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":2}})").kind, Kind::request);
}

TEST(Scan, understands_keys_spelled_with_escapes) {
  const auto message = scan(R"({"jsonrpc":"2\u002e0","\u0069d":5,"m\u0065thod":"p\u0069ng"})");
  ASSERT_EQ(message.kind, Kind::request) << message.problem;
  EXPECT_EQ(message.id, "5");
  EXPECT_EQ(message.method(), "ping");
}

TEST(Scan, bounds_depth_without_recursion) {
  const auto kind_of = [](const std::string& line) { return scan(line).kind; };
  EXPECT_EQ(kind_of(nested(max_depth - 1)), Kind::result);
  EXPECT_EQ(kind_of(nested(max_depth)), Kind::not_json);
  EXPECT_EQ(kind_of(nested(1'000'000)), Kind::not_json);
  EXPECT_EQ(kind_of(std::string(1'000'000, '[')), Kind::not_json);
}

TEST(Scan, agrees_with_a_parser_on_what_is_json) {
  const std::string values[] = {
      "0",
      "-0",
      "01",
      "1.",
      ".5",
      "1.5e+3",
      "1e",
      "+1",
      "- 1",
      "true",
      "tru",
      "nulll",
      "[]",
      "[1,]",
      "[,1]",
      "[1 2]",
      "{}",
      "{\"a\"}",
      "{,}",
      "{\"a\":}",
      "{\"a\":1,}",
      "{1:2}",
      "[}",
      "{]",
      "\"\\x\"",
      "\"\\u12g4\"",
      "\"\t\"",
      "\"\\",
      "\"é\"",
      "\"\xff\"",
      "\"\xc0\x80\"",
      "\"\xed\xa0\x80\"",
      "\"\xf4\x90\x80\x80\"",
      "\"\xe2\x82\"",
      "\"\xf0\x9f\x98\x80\"",
      "\"abcdefgh\xffijklmnop\"",
      "\"abcdefghijklmno\x1f\"",
      "\"abcdefgh\\nijkl\\\"mnop\"",
      "\"\x7f\"",
      "[[[]],{\"a\":[{}]}]",
      " [ 1 , { \"a\" : \"b\" } ] ",
      "1 1",
      "\"a\" \"b\"",
      "\f1",
      std::string("\"\0\"", 3),
      "\"\\\0\"",
  };
  for (const auto& value : values) {
    const std::string line = R"({"jsonrpc":"2.0","id":1,"result":)" + value + "}";
    EXPECT_EQ(scan(line).kind != Kind::not_json, nlohmann::json::accept(line)) << text::printable(value);
  }
}

TEST(Scan, lets_a_lone_surrogate_pass_as_the_grammar_does) {
  EXPECT_EQ(scan(R"({"jsonrpc":"2.0","id":1,"result":"\ud800"})").kind, Kind::result);
}

TEST(Scan, leaves_unicode_line_separators_alone) {
  EXPECT_EQ(scan("{\"jsonrpc\":\"2.0\",\"method\":\"a\xE2\x80\xA8z\"}").kind, Kind::notification);
}

TEST(Splice, replaces_in_any_order_and_keeps_every_other_byte) {
  const std::string line = R"({"id":1,"params":{"_meta":{"progressToken":"x"}},"method":"m","jsonrpc":"2.0"})";
  const auto message = scan(line);
  for (const bool id_first : {true, false}) {
    Splice splice(line);
    splice.replace(id_first ? message.id : message.meta_progress_token, id_first ? "77" : "88");
    splice.replace(id_first ? message.meta_progress_token : message.id, id_first ? "88" : "77");
    splice.replace({}, "nothing");
    std::string joined;
    for (const auto part : splice.parts()) {
      joined += part;
    }
    EXPECT_EQ(joined, R"({"id":77,"params":{"_meta":{"progressToken":88}},"method":"m","jsonrpc":"2.0"})");
  }
}

TEST(Ids, are_typed_and_equal_however_spelled) {
  EXPECT_NE(id_key("5"), id_key("\"5\""));
  EXPECT_EQ(id_key(R"("a\/b")"), id_key(R"("a/b")"));
  EXPECT_EQ(id_key(R"("\u0041")"), id_key(R"("A")"));
  EXPECT_NE(id_key(R"("a")"), id_key(R"("b")"));
}

TEST(Strings, come_back_from_quoting) {
  for (const std::string text : {"", "plain", "q\"b\\s/", "\n\t\x01", "é😀", "\x7f"}) {
    EXPECT_EQ(unescape(quote(text)), text);
    EXPECT_EQ(nlohmann::json::parse(quote(text)).get<std::string>(), text);
  }
  EXPECT_EQ(unescape(R"("\ud83d\ude00\u00e9\ud800")"), "😀é\xEF\xBF\xBD");
  EXPECT_TRUE(nlohmann::json::accept(quote("bad \xff")));
  EXPECT_EQ(unescape("5"), "");
}

TEST(Messages, are_valid_and_say_what_was_asked) {
  EXPECT_EQ(error_response("", -32700, "a \"b\""),
            R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"a \"b\""}})");
  EXPECT_EQ(result_response("\"x\"", "{}"), R"({"jsonrpc":"2.0","id":"x","result":{}})");
  EXPECT_EQ(request("3", "ping", ""), R"({"jsonrpc":"2.0","id":3,"method":"ping"})");
  EXPECT_EQ(notification("n", "{\"a\":1}"), R"({"jsonrpc":"2.0","method":"n","params":{"a":1}})");
}

TEST(Codes, exist_for_every_outcome_and_stay_off_those_of_mcp) {
  const std::set<int> taken_by_mcp = {-32002, -32020, -32021, -32022, -32042};
  for (const auto code : all_errcs) {
    EXPECT_LT(code_of(code), 0);
    EXPECT_EQ(taken_by_mcp.count(code_of(code)), 0U) << name(code);
  }
}

TEST(PlainText, stops_before_every_special_byte_wherever_it_stands) {
  for (std::size_t size = 0; size < 70; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (const char special : {'"', '\\', '\n', '\x00', '\x1f', '\x80', '\xff'}) {
        std::string text(size, 'x');
        text[at] = special;
        const char* const end = text.data() + size;
        const auto plain = static_cast<std::size_t>(skip_plain_ascii(text.data(), end) - text.data());
        EXPECT_LE(plain, at);
        EXPECT_GE(plain + 8, std::min(at + 1, size)) << "a step is at most so far off";
        const auto found = static_cast<std::size_t>(find_quote_or_backslash(text.data(), end) - text.data());
        EXPECT_EQ(found, special == '"' || special == '\\' ? at : size);
      }
    }
  }
  const std::string plain(64, '~');
  EXPECT_EQ(skip_plain_ascii(plain.data(), plain.data() + 64), plain.data() + 64);
}

TEST(Batch, is_split_where_its_messages_end) {
  const std::string line = R"( [ {"id":1,"x":"],["} , 5,[1,2] ] )";
  const auto messages = split_batch(line);
  ASSERT_TRUE(messages);
  EXPECT_EQ(*messages, (std::vector<std::string_view>{R"({"id":1,"x":"],["})", "5", "[1,2]"}));
  EXPECT_EQ(split_batch("[]")->size(), 0U);
  for (const char* bad : {"", "{}", "[", "[1", "[1,]", "[1]x", "[,]", "[1 2]"}) {
    EXPECT_FALSE(split_batch(bad)) << bad;
  }
  std::string many = "[0";
  for (std::size_t i = 1; i < max_batch_messages; ++i) {
    many += ",0";
  }
  EXPECT_EQ(split_batch(many + "]")->size(), max_batch_messages);
  EXPECT_FALSE(split_batch(many + ",0]"));
}

TEST(Envelope, sees_what_a_request_says_of_itself) {
  const std::string line =
      R"({"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"v",)"
      R"("io.modelcontextprotocol\/clientCapabilities":{"a":1},"io.modelcontextprotocol/logLevel":"info","x":0,)"
      R"("io.modelcontextprotocol/subscriptionId":5,"\u0070rogressToken":7}}})";
  const auto message = scan(line);
  ASSERT_EQ(message.kind, Kind::request);
  EXPECT_EQ(message.meta_protocol_version, "\"v\"");
  EXPECT_EQ(message.meta_client_capabilities, R"({"a":1})");
  EXPECT_EQ(message.meta_log_level, "\"info\"");
  EXPECT_EQ(message.meta_subscription_id, "5");
  EXPECT_EQ(message.meta_progress_token, "7");
  const std::string twice =
      R"({"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"io.modelcontextprotocol/logLevel":1,)"
      R"("io.modelcontextprotocol/logLeve\u006c":2}}})";
  EXPECT_EQ(scan(twice).kind, Kind::invalid);
}

TEST(Places, members_of_an_object) {
  const std::string object = R"({ "a" : 1 , "b":{"a":2},"c":"\"","\u0061":[3 ] })";
  EXPECT_EQ(member(object, "a"), "[3 ]");  // the last one
  EXPECT_EQ(member(member(object, "b"), "a"), "2");
  EXPECT_EQ(member(object, "d"), "");
  for (const auto* other : {"", "[1]", "7", "{", "null"}) {
    EXPECT_EQ(member(other, "a"), "") << other;
  }
  std::string keys;
  each_member_of(object, [&keys](std::string_view key, std::string_view) { keys += key; });
  EXPECT_EQ(keys, "abca");
  EXPECT_EQ(without_members(object, {"a", "c"}), R"({"b":{"a":2}})");
  EXPECT_EQ(without_members(object, {}), R"({"a":1,"b":{"a":2},"c":"\"","a":[3 ]})");
  EXPECT_EQ(without_members("", {"a"}), "{}");
  EXPECT_EQ(with_member("{}", "k", "1"), R"({"k":1})");
  EXPECT_EQ(with_member("{ }", "k", "1"), R"({"k":1})");
  EXPECT_EQ(with_member("", "k", "1"), R"({"k":1})");
  EXPECT_EQ(with_member(R"({ "a":1 })", "k", "{}"), R"({"k":{},"a":1 })");
}

}  // namespace
}  // namespace hal::jsonrpc
