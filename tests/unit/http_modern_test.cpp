#include "http/modern_rules.hpp"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace hal::http {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

Head head_of(const Headers& headers) {
  Head head;
  for (const auto& [name, value] : headers) {
    head.take(name, value);
  }
  return head;
}

std::string request(const std::string& method, const std::string& params) {
  return R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"(","params":)" + params + "}";
}

TEST(ModernRules, decode_header_values) {
  const std::pair<const char*, const char*> good[] = {
      {"us-west1", "us-west1"},
      {"", ""},
      {"=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, \xe4\xb8\x96\xe7\x95\x8c"},
      {"=?base64?IHBhZGRlZCA=?=", " padded "},
      {"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="},
      {"=?base64?"
       "?=",
       ""},
      {"=?base64?SGVsbG8=", "=?base64?SGVsbG8="},
      {"SGVsbG8=?=", "SGVsbG8=?="},
      {"=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?="},
      {"=?base64?=", "=?base64?="},
  };
  for (const auto& [value, text] : good) {
    EXPECT_EQ(decode_header_value(value), text) << value;
  }
  for (const auto* value : {"=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?=", "=?base64?=AAA?=", "=?base64?A===?=",
                            "=?base64?AA=A?=", "\xc3\xa4", "a\x01"}) {
    EXPECT_FALSE(decode_header_value(value)) << value;
  }
}

TEST(ModernRules, compare_method_and_name) {
  const struct {
    std::string message;
    Headers headers;
    bool fits;
  } cases[] = {
      {request("tools/list", "{}"), {{"mcp-METHOD", " tools/list "}}, true},
      {request("tools/list", "{}"), {{"Mcp-Method", "Tools/list"}}, false},
      {request("tools/list", "{}"), {}, false},
      {request("tools\\/list", "{}"), {{"Mcp-Method", "tools/list"}}, true},
      {request("tools/call", R"({"name":"x"})"), {{"Mcp-Method", "tools/call"}, {"Mcp-Name", "x"}}, true},
      {request("tools/call", R"({"name":"\u0078"})"), {{"Mcp-Method", "tools/call"}, {"Mcp-Name", "x"}}, true},
      {request("tools/call", R"({"name":"x"})"), {{"Mcp-Method", "tools/call"}}, false},
      {request("tools/call", "{}"), {{"Mcp-Method", "tools/call"}}, true},
      {request("prompts/get", R"({"name":"x"})"), {{"Mcp-Method", "prompts/get"}, {"Mcp-Name", "y"}}, false},
      {request("resources/read", R"({"uri":"u"})"), {{"Mcp-Method", "resources/read"}, {"Mcp-Name", "u"}}, true},
      {request("resources/read", R"({"uri":"u"})"), {{"Mcp-Method", "resources/read"}}, false},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(!header_mismatch(head_of(one.headers), jsonrpc::scan(one.message)).has_value(), one.fits) << one.message;
  }
}

TEST(ModernRules, a_parameter_twice_is_ambiguous) {
  EXPECT_TRUE(head_of({{"Mcp-Param-A", "1"}, {"mcp-param-a", "1"}}).doubled);
  EXPECT_FALSE(head_of({{"Mcp-Param-A", "1"}, {"Mcp-Param-B", "1"}}).doubled);
  EXPECT_TRUE(head_of({{"Mcp-Name", "1"}, {"Mcp-Name", "1"}}).doubled);
}

class Tools : public testing::Test {
 public:
  void learn(const std::string& properties, const std::string& beside = "") {
    tools.learn(R"({"tools":[{"name":"t","inputSchema":{"type":"object","properties":)" + properties + beside + "}}]}");
  }
  [[nodiscard]] bool fits(const std::string& arguments, const Headers& headers) const {
    const auto line = request("tools/call", R"({"name":"t","arguments":)" + arguments + "}");
    return !header_mismatch(head_of(headers), tools, jsonrpc::scan(line)).has_value();
  }

  jsonrpc::ToolHeaders tools;
};

TEST_F(Tools, values_are_compared_by_their_type) {
  learn(R"({"s":{"type":"string","x-mcp-header":"S"},"i":{"x-mcp-header":"I","type":"integer"},
            "b":{"type":"boolean","x-mcp-header":"B"}})");
  EXPECT_TRUE(
      fits(R"({"s":"x","i":1,"b":true})", {{"Mcp-Param-S", "x"}, {"mcp-param-i", "1"}, {"Mcp-Param-B", "true"}}));
  EXPECT_TRUE(fits(R"({"i":1})", {{"Mcp-Param-I", "1.0"}, {"Mcp-Param-S", "not in the arguments"}}));
  EXPECT_TRUE(fits("{}", {}));
  EXPECT_TRUE(fits(R"({"s":null,"i":{},"b":[]})", {}));
  EXPECT_TRUE(fits(R"({"s":"42"})", {{"Mcp-Param-S", "42"}}));
  EXPECT_FALSE(fits(R"({"s":"42"})", {{"Mcp-Param-S", "42.0"}}));
  EXPECT_FALSE(fits(R"({"i":1})", {{"Mcp-Param-I", "one"}}));
  EXPECT_FALSE(fits(R"({"i":1})", {}));
  EXPECT_FALSE(fits(R"({"b":true})", {{"Mcp-Param-B", "TRUE"}}));
  EXPECT_FALSE(fits(R"({"s":"x"})", {{"Mcp-Param-S", "=?base64?eA=?="}}));
}

TEST_F(Tools, what_is_no_valid_annotation_asks_for_nothing) {
  for (const auto* properties :
       {R"({"a":{"type":"number","x-mcp-header":"A"}})", R"({"a":{"type":"string","x-mcp-header":""}})",
        R"({"a":{"type":"string","x-mcp-header":"a b"}})", R"({"a":{"type":"string","x-mcp-header":7}})",
        R"({"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}})",
        R"({"a":{"items":{"type":"string","x-mcp-header":"A"}}})"}) {
    learn(properties);
    EXPECT_EQ(tools.size(), 0U) << properties;
  }
}

TEST_F(Tools, a_later_list_replaces_what_was_known) {
  learn(R"({"a":{"type":"string","x-mcp-header":"A"}})");
  EXPECT_FALSE(fits(R"({"a":"x"})", {}));
  learn(R"({"a":{"type":"string"}})");
  EXPECT_TRUE(fits(R"({"a":"x"})", {}));
}

}  // namespace
}  // namespace hal::http
