#include "relay/line_scanner.hpp"

#include <string>

#include <gtest/gtest.h>

namespace hal::relay {
namespace {

/** The line as seen when it comes in pieces of `piece` bytes. */
Line scan_in_pieces(const std::string& text, std::size_t piece) {
  LineScanner scanner;
  for (std::size_t at = 0; at < text.size();) {
    at += scanner.pass(std::string_view(text).substr(at, piece));
  }
  EXPECT_TRUE(scanner.at_line_end());
  EXPECT_EQ(scanner.line_bytes(), text.size());
  return scanner.line();
}

TEST(LineScanner, finds_the_envelope_whatever_the_pieces) {
  struct Case {
    std::string text;
    const char* id;
    const char* method;
    bool request;
    bool response;
    const char* request_id = "";
  };
  const Case cases[] = {
      {R"({"jsonrpc":"2.0","id":0,"method":"tools/list"})", "0", "tools/list", true, false},
      {R"({"method":"a","id":"x\"\\"})", R"("x\"\\")", "a", true, false},
      {R"( { "id" : -1 , "method" : "a" } )", "-1", "a", true, false},
      {R"({"id":1e3,"method":"a","params":{}})", "1e3", "a", true, false},
      {R"({"id":"5","result":{"id":7,"method":"x","error":1}})", R"("5")", "", false, true},
      {R"({"result":{"content":[{"id":7,"method":"x"}]},"id":12345678901234567890})", "12345678901234567890", "", false,
       true},
      {R"({"error":{"code":1,"message":"id\":4"},"id":3})", "3", "", false, true},
      {R"({"error":{"code":1},"id":null})", "", "", false, false},
      {R"({"method":"notifications/cancelled","params":{"requestId":"r","reason":"x"}})", "", "notifications/cancelled",
       false, false, R"("r")"},
      {R"({"method":"n","params":{"a":{"requestId":1},"requestId": 9 }})", "", "n", false, false, "9"},
      {R"({"method":"n","params":[{"requestId":1}]})", "", "n", false, false, ""},
      {R"({"other":{"requestId":1},"method":"n"})", "", "n", false, false, ""},
      {R"({"id":{"a":1},"method":"n"})", "", "n", false, false},
      {R"({"x":["id",{"id":3}],"method":"n","id":4})", "4", "n", true, false},
      {R"([{"id":1,"method":"n"}])", "", "", false, false},
      {"\"id\":1", "", "", false, false},
      {"}}}{{{]]", "", "", false, false},
      {"", "", "", false, false},
      {"\r", "", "", false, false},
      {R"({"id":1,"method":"open string)", "1", R"()", true, false},
  };
  for (const auto& test : cases) {
    for (std::size_t piece = 1; piece <= test.text.size() + 1; ++piece) {
      const Line line = scan_in_pieces(test.text + "\n", piece);
      SCOPED_TRACE(test.text + " in pieces of " + std::to_string(piece));
      EXPECT_EQ(line.id, test.id);
      if (!test.request || *test.method != '\0') {
        EXPECT_EQ(line.method, test.method);
      }
      EXPECT_EQ(line.is_request(), test.request);
      EXPECT_EQ(line.is_response(), test.response);
      EXPECT_EQ(line.request_id, test.request_id);
    }
  }
}

TEST(LineScanner, a_line_does_not_colour_the_next) {
  LineScanner scanner;
  const std::string text = "{\"id\":\"never closed\n{\"id\":2,\"method\":\"b\"}\n";
  const auto first = scanner.pass(text);
  EXPECT_EQ(text[first - 1], '\n');
  const auto second = scanner.pass(std::string_view(text).substr(first));
  EXPECT_EQ(first + second, text.size());
  EXPECT_EQ(scanner.line().id, "2");
  EXPECT_EQ(scanner.line().method, "b");
}

TEST(LineScanner, what_is_too_long_to_follow_is_not_kept) {
  const std::string id(max_id_bytes + 1, '7');
  EXPECT_EQ(scan_in_pieces("{\"id\":" + id + ",\"method\":\"m\"}\n", 100).id, "");
  const std::string fits(max_id_bytes, '7');
  EXPECT_EQ(scan_in_pieces("{\"id\":" + fits + ",\"method\":\"m\"}\n", 100).id, fits);
  const std::string method(100000, 'm');
  EXPECT_LE(scan_in_pieces("{\"id\":1,\"method\":\"" + method + "\"}\n", 1000).method.size(), max_method_bytes + 1);
}

}  // namespace
}  // namespace hal::relay
