#include "curl/url.hpp"
#include "remote/call.hpp"
#include "remote/event_parser.hpp"
#include "remote/memory.hpp"
#include "remote/session.hpp"
#include "remote/settings.hpp"

#include <gtest/gtest.h>

namespace hal::remote {
namespace {

using namespace std::string_view_literals;

/** All events of a stream that comes in pieces of `step` bytes, as "TYPE:DATA". */
std::vector<std::string> events_of(EventParser& parser, std::string_view bytes, std::size_t step) {
  std::vector<std::string> events;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(step, bytes.size()))) {
    for (auto piece = bytes.substr(0, step); !piece.empty();) {
      std::optional<Event> event;
      const auto taken = parser.feed(piece, event);
      EXPECT_TRUE(taken > 0 || event);
      piece.remove_prefix(taken);
      if (event) {
        events.push_back(event->type + ":" + event->data);
      }
    }
  }
  return events;
}

struct Case {
  std::string_view stream;
  std::vector<std::string> events;
  std::string_view last_id;
};

class EventStreams : public ::testing::TestWithParam<Case> {};

TEST_P(EventStreams, are_read_whatever_the_pieces) {
  for (const std::size_t step : {1U, 2U, 3U, 7U, 4096U}) {
    EventParser parser;
    EXPECT_EQ(events_of(parser, GetParam().stream, step), GetParam().events) << step;
    EXPECT_EQ(parser.last_id(), GetParam().last_id) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EventStreams,
    ::testing::Values(Case{"data: a\n\n", {"message:a"}, ""}, Case{"data:a\r\n\r\n", {"message:a"}, ""},
                      Case{"data:  a\r\rdata: b\r\r", {"message: a", "message:b"}, ""},
                      Case{"\xef\xbb\xbf"
                           "data: a\n\n",
                           {"message:a"},
                           ""},
                      Case{"data: a\ndata: b\ndata\n\n", {"message:a\nb\n"}, ""},
                      Case{"event: endpoint\ndata: /m\n\ndata: x\n\n", {"endpoint:/m", "message:x"}, ""},
                      Case{": comment\n\n:\n\ndata: a", {}, ""}, Case{"data\n\ndata:\n\n", {}, ""},
                      Case{"id: 7\ndata:\n\n", {}, "7"},
                      Case{"id: 7\ndata: a\n\ndata: b\n\n", {"message:a", "message:b"}, "7"},
                      Case{"id: 7\n\nid: 8\ndata: cut off", {}, "7"}, Case{"id: 7\n\nid\n\n", {}, ""},
                      Case{"id: 7\n\nid: a\0b\n\n"sv, {}, "7"},
                      Case{"retry: soon\nnonsense\ndata: a\n\n", {"message:a"}, ""},
                      Case{"event: x\n\ndata: a\n\n", {"message:a"}, ""}));

TEST(EventParser, tells_how_long_to_wait) {
  EventParser parser;
  (void)events_of(parser, "retry: 250\n\n", 1);
  EXPECT_EQ(parser.retry(), std::chrono::milliseconds(250));
  (void)events_of(parser, "retry: 99999999999\nretry: -1\nretry: 1s\n\n", 1);
  EXPECT_EQ(parser.retry(), std::chrono::milliseconds(250));
}

TEST(EventParser, passes_over_an_event_that_is_too_long_and_reads_the_next) {
  for (const std::size_t step : {1U, 5U, 4096U}) {
    EventParser parser(16);
    const auto events =
        events_of(parser,
                  "data: 12345678901234567890\nid: 9\n: x\n\ndata: a\n\ndata: b\ndata: 2\ndata: 3456789012\n\n"
                  "data: c\r\n\r\n",
                  step);
    EXPECT_EQ(events, (std::vector<std::string>{"message:a", "message:c"})) << step;
    EXPECT_EQ(parser.take_overlong(), 2U);
    EXPECT_EQ(parser.take_overlong(), 0U);
    EXPECT_EQ(parser.pending(), 0U);
    EXPECT_EQ(parser.last_id(), "");
  }
}

TEST(Headers, a_value_that_no_header_can_hold_is_encoded) {
  EXPECT_EQ(header_value("us-west1"), "us-west1");
  EXPECT_EQ(header_value("file:///a b"), "file:///a b");
  EXPECT_EQ(header_value("Hello, 世界"), "=?base64?SGVsbG8sIOS4lueVjA==?=");
  EXPECT_EQ(header_value(" padded "), "=?base64?IHBhZGRlZCA=?=");
  EXPECT_EQ(header_value("line1\nline2"), "=?base64?bGluZTEKbGluZTI=?=");
  EXPECT_EQ(header_value("=?base64?literal?="), "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
  EXPECT_EQ(header_value(""),
            "=?base64?"
            "?=");
}

TEST(Headers, a_session_id_is_visible_ascii) {
  EXPECT_TRUE(is_session_id("1-a_~!"));
  for (const auto id : {""sv, "a b"sv, "a\r\nX: y"sv, "\xc3\xa4"sv, "a\0b"sv}) {
    EXPECT_FALSE(is_session_id(id)) << id;
  }
  EXPECT_FALSE(is_session_id(std::string(1025, 'a')));
}

TEST(Headers, a_message_may_name_its_revision) {
  EXPECT_EQ(own_revision(R"({"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}})"), "2026-07-28");
  EXPECT_EQ(own_revision(R"({"_meta":{"progressToken":1}})"), "");
  EXPECT_EQ(own_revision(R"({"_meta":{"io.modelcontextprotocol/protocolVersion":"1\r\nX: y"}})"), "");
  EXPECT_EQ(own_revision(""), "");
}

TEST(Memory, keeps_what_a_new_session_has_to_be_told) {
  Memory memory;
  memory.begin(R"({"a":1})");
  for (const std::string line : {R"({"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}})",
                                 R"({"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a:1"}})",
                                 R"({"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a:2"}})",
                                 R"({"jsonrpc":"2.0","id":4,"method":"resources/unsubscribe","params":{"uri":"a:1"}})",
                                 R"({"jsonrpc":"2.0","id":5,"method":"logging/setLevel","params":{"level":"debug"}})",
                                 R"({"jsonrpc":"2.0","id":6,"method":"tools/list"})"}) {
    memory.on_request(jsonrpc::scan(line));
  }
  const auto told = memory.told();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].params, R"({"level":"debug"})");
  EXPECT_EQ(told[1].params, R"({"uri":"a:2"})");
  memory.begin("{}");
  EXPECT_TRUE(memory.told().empty());
}

TEST(Settings, are_one_line) {
  const auto settings = read_settings(
      R"({"url":"https://Example.org/mcp?k=1","transport":"sse","headers":{"A":"b"},"timeout_ms":5000,"proxy":""})");
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->url.host, "example.org:443");
  EXPECT_EQ(settings->transport, Transport::sse);
  EXPECT_EQ(settings->headers, std::vector<std::string>{"A: b"});
  EXPECT_EQ(settings->timeout, std::chrono::seconds(5));
}

TEST(Url, the_same_server_has_the_same_origin) {
  const auto url = curl::read_url("https://example.org/mcp#x");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->origin, "https://example.org:443");
  EXPECT_EQ(url->text, "https://example.org/mcp");
  EXPECT_EQ(curl::resolve(*url, "/other?q=1")->text, "https://example.org/other?q=1");
  EXPECT_EQ(curl::resolve(*url, "https://EXAMPLE.org:443/")->origin, url->origin);
  EXPECT_NE(curl::resolve(*url, "http://example.org/")->origin, url->origin);
  EXPECT_NE(curl::resolve(*url, "//other.org/")->origin, url->origin);
  EXPECT_NE(curl::resolve(*url, "https://example.org:444/")->origin, url->origin);
}

TEST(Url, what_is_none_is_not_repeated) {
  for (const auto text : {"hidden"sv, "ftp://hidden/"sv, "https://user:hidden@host/"sv, "https://hidden host/"sv,
                          "https://"sv, "file:///hidden"sv, "https://host/\nhidden"sv}) {
    const auto url = curl::read_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().message.find("hidden"), std::string::npos) << url.error().message;
  }
}

}  // namespace
}  // namespace hal::remote
