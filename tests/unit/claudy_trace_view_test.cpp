#include "claudy/trace_view.hpp"

#include <stdlib.h>
#include <time.h>

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {
namespace {

constexpr auto request =
    R"({"time":1700000000000001,"from":"client","session":"01234567","worker":"w1","owner":0,"kind":"request",)"
    R"("method":"tools/call","tool":"echo","id":"a","bytes":70})"
    "\n";
constexpr auto failed =
    R"({"time":1700000000002001,"from":"server","session":"01234567","worker":"w1","owner":0,"kind":"error",)"
    R"("method":"tools/call","tool":"echo","id":"a","bytes":2048,"duration_usec":1500,"outcome":"error"})"
    "\n";

struct TraceViewTest : testing::Test {
  TraceViewTest() {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
  }
};

TEST_F(TraceViewTest, shows_a_line_a_message_in_columns) {
  TraceView view({});
  EXPECT_EQ(view.feed(request),
            "22:13:20.000001 -> 01234567 w1             request           \"a\"       70B  tools/call echo\n");
  EXPECT_EQ(view.feed(failed),
            "22:13:20.002001 <- 01234567 w1             error             \"a\"      2.0K  tools/call echo  error  "
            "1.500 ms\n");
}

TEST_F(TraceViewTest, takes_lines_in_pieces) {
  TraceView whole({});
  const std::string lines = std::string(request) + failed + "{\"lost\":3}\n" + request;
  const auto expected = whole.feed(lines);
  EXPECT_NE(expected.find("3 messages"), std::string::npos);
  for (std::size_t cut = 0; cut <= lines.size(); ++cut) {
    TraceView view({});
    auto shown = view.feed(lines.substr(0, cut));
    shown += view.feed(lines.substr(cut));
    EXPECT_EQ(shown, expected) << cut;
  }
}

TEST_F(TraceViewTest, colours_only_where_told_to) {
  TraceView coloured({.colour = true});
  EXPECT_EQ(coloured.feed(request).find('\x1b'), std::string::npos);
  EXPECT_EQ(coloured.feed(failed).substr(0, 5), "\x1b[31m");
  TraceView plain({});
  EXPECT_EQ(plain.feed(failed).find('\x1b'), std::string::npos);
}

TEST_F(TraceViewTest, gives_json_as_it_is) {
  TraceView view({.json = true});
  const std::string lines = std::string(request) + failed + "{\"lost\":3}\n";
  EXPECT_EQ(view.feed(lines), lines);
}

TEST_F(TraceViewTest, keeps_what_the_last_line_says) {
  TraceView view({});
  EXPECT_FALSE(view.end().has_value());
  EXPECT_EQ(view.feed(R"({"time":1,"end":"worker-gone","reason":"worker w1 is gone"})"
                      "\n"),
            "");
  ASSERT_TRUE(view.end().has_value());
  EXPECT_EQ(view.end()->what, "worker-gone");
  EXPECT_EQ(view.end()->reason, "worker w1 is gone");
}

TEST_F(TraceViewTest, a_terminal_obeys_nothing_of_it) {
  TraceView view({});
  const auto shown = view.feed(R"({"time":1,"from":"client","session":"\u001b[2J","worker":"\u001b]0;x\u0007",)"
                               R"("kind":"request","method":"\u001b[31m","tool":"a\nb","id":"\u009b1m","bytes":1,)"
                               R"("outcome":"\r","payload":"{\"t\":\"\u001b[2J\n\"}","payload_cut":true})"
                               "\nno json \x1b[2J\n[]\n");
  EXPECT_EQ(shown.find('\x1b'), std::string::npos) << shown;
  EXPECT_EQ(shown.find('\x07'), std::string::npos) << shown;
  EXPECT_EQ(shown.find('\r'), std::string::npos) << shown;
  EXPECT_NE(shown.find("…\n"), std::string::npos) << shown;
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '\n'), 4) << shown;
}

TEST_F(TraceViewTest, a_line_without_end_is_not_kept) {
  TraceView view({});
  const std::string piece(std::size_t{64} << 10, 'x');
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(view.feed(piece), "");
  }
  EXPECT_LT(view.feed("\n").size(), 1000U);
  EXPECT_NE(view.feed(request), "");
}

}  // namespace
}  // namespace hal::claudy
