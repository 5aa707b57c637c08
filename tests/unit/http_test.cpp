#include "http/event_stream.hpp"
#include "http/rules.hpp"

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::http {
namespace {

TEST(Rules, know_our_hosts) {
  for (const auto* host : {"127.0.0.1", "127.0.0.1:9000", "localhost:9000", "LOCALHOST", "[::1]", "[::1]:9000"}) {
    EXPECT_TRUE(is_our_host(host, 9000)) << host;
  }
  for (const auto* host : {"", ":9000", "127.0.0.1:9001", "127.0.0.1:", "127.0.0.1:09000x", "127.0.0.2", "localhost.",
                           "localhost.evil:9000", "evil", "::1", "[::1", "[::1]x:9000", "localhost:9000:9000",
                           "localhost:99999999999", "127.0.0.1:+9000", " localhost"}) {
    EXPECT_FALSE(is_our_host(host, 9000)) << host;
  }
}

TEST(Rules, know_our_pages) {
  for (const auto* origin : {"http://localhost", "http://localhost:3000", "https://127.0.0.1", "http://[::1]:1"}) {
    EXPECT_TRUE(is_our_origin(origin)) << origin;
  }
  for (const auto* origin : {"", "null", "localhost", "http://", "http://evil", "http://localhost.evil", "file://",
                             "http://localhost/", "http://user@localhost", "ftp://localhost"}) {
    EXPECT_FALSE(is_our_origin(origin)) << origin;
  }
}

TEST(Rules, read_what_a_client_accepts) {
  const struct {
    const char* accept;
    bool json;
    bool events;
    bool events_first = false;
  } cases[] = {
      {"application/json, text/event-stream", true, true},
      {"text/event-stream,application/json", true, true, true},
      {"text/event-stream, text/html, application/json, text/event-stream", true, true, true},
      {"text/event-stream;q=0, application/json", true, false},
      {"application/json;q=0, text/event-stream", false, true},
      {"*/*", true, true},
      {"application/*", true, false},
      {"text/*", false, true},
      {"APPLICATION/JSON", true, false},
      {"application/json;q=0.5, text/event-stream;q=0", true, false},
      {"text/event-stream; q=0.0", false, false},
      {"application/json;charset=utf-8", true, false},
      {"application/jsonx, text/html", false, false},
      {"", false, false},
      {",,;;", false, false},
  };
  for (const auto& one : cases) {
    Head head;
    head.take("accept", one.accept);
    EXPECT_EQ(accepted(head).json, one.json) << one.accept;
    EXPECT_EQ(accepted(head).events, one.events) << one.accept;
    EXPECT_EQ(accepted(head).events_first, one.events_first) << one.accept;
  }
  EXPECT_TRUE(accepted(Head()).json && accepted(Head()).events);
  Head both;
  both.take("Accept", "application/json");
  both.take("Accept", "text/event-stream");
  EXPECT_TRUE(accepted(both).json && accepted(both).events && !both.doubled);
}

TEST(Rules, read_content_types) {
  for (const auto* type : {"application/json", "Application/JSON", "application/json;charset=utf-8",
                           "application/json; charset=\"UTF-8\"", "application/json; boundary=x"}) {
    EXPECT_TRUE(is_json(type)) << type;
  }
  for (const auto* type : {"", "text/plain", "application/jsonp", "application/json; charset=utf-16", "json"}) {
    EXPECT_FALSE(is_json(type)) << type;
  }
}

TEST(Rules, read_tokens) {
  EXPECT_EQ(bearer_token("Bearer a.b"), "a.b");
  EXPECT_EQ(bearer_token("bearer   a.b "), "a.b");
  for (const auto* text : {"", "Bearer", "Bearer ", "Basic a", "Bearera", "a.b"}) {
    EXPECT_EQ(bearer_token(text), "") << text;
  }
  EXPECT_TRUE(equal_secrets("abc", "abc"));
  for (const auto* other : {"", "ab", "abcd", "abd", "bbc", "ABC"}) {
    EXPECT_FALSE(equal_secrets("abc", other)) << other;
  }
}

TEST(Rules, a_header_that_stands_twice_is_told) {
  Head head;
  head.take("HOST", " a ");
  EXPECT_EQ(head.host, "a");
  EXPECT_FALSE(head.doubled);
  head.take("host", "a");
  EXPECT_TRUE(head.doubled);
}

TEST(Rules, read_event_ids_as_they_are_written) {
  for (const EventId id : {EventId{0, 0}, EventId{1, 2}, EventId{UINT64_MAX, UINT64_MAX}}) {
    const auto read = read_event_id(event_id(id));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->stream, id.stream);
    EXPECT_EQ(read->event, id.event);
  }
  for (const auto* text : {"", "-", "1", "1-", "-1", "1-2-3", "1--2", "a-1", " 1-2", "18446744073709551616-0"}) {
    EXPECT_FALSE(read_event_id(text)) << text;
  }
}

TEST(Rules, read_paths) {
  EXPECT_EQ(read_path("/mcp"), "");
  EXPECT_EQ(read_path("/mcp/"), "");
  EXPECT_EQ(read_path("/mcp/memory-bank"), "memory-bank");
  for (const auto* path : {"", "/", "/mcpx", "/mcp//", "/mcp/a/b", "/mcp/..", "/mcp/a b", "/mcp/a\xff", "mcp/a", "*"}) {
    EXPECT_FALSE(read_path(path)) << path;
  }
}

TEST(Rules, read_paths_of_the_old_transport) {
  EXPECT_EQ(read_sse_path("/sse"), "");
  EXPECT_EQ(read_sse_path("/sse/"), "");
  EXPECT_EQ(read_sse_path("/sse/memory-bank"), "memory-bank");
  EXPECT_EQ(read_message_path("/message/0a1b"), "0a1b");
  for (const auto* path : {"", "/", "/ssex", "/sse//", "/sse/a/b", "/message", "/message/", "/mcp/a"}) {
    EXPECT_FALSE(read_sse_path(path)) << path;
    EXPECT_FALSE(read_message_path(path)) << path;
  }
  EXPECT_TRUE(is_known_sse_revision("2024-11-05"));
  EXPECT_TRUE(is_known_sse_revision("2025-11-25"));
  EXPECT_FALSE(is_known_sse_revision("2024-11-06"));
}

// Streams.

std::string read_all(EventStream& stream, std::size_t step = 7) {
  std::string text;
  std::vector<char> buffer(step);
  while (const auto bytes = stream.read(buffer)) {
    text.append(buffer.data(), bytes);
  }
  return text;
}

void add(EventStream& stream, std::string_view one, std::string_view two = "") {
  const std::array parts{one, two};
  stream.add(parts);
}

TEST(Stream, writes_events_whatever_the_pieces_they_are_read_in) {
  for (const std::size_t step : {1U, 7U, 1000U}) {
    EventStream stream(3);
    stream.open(true);
    add(stream, "{\"a\":", "1}");
    add(stream, "{}");
    EXPECT_GT(stream.unread(), 0U);
    EXPECT_EQ(read_all(stream, step),
              "retry: 1000\nid: 3-0\ndata: \n\nid: 3-1\ndata: {\"a\":1}\n\nid: 3-2\ndata: {}\n\n");
    EXPECT_TRUE(stream.drained());
    EXPECT_EQ(stream.unread(), 0U);
  }
}

TEST(Stream, a_message_is_one_line) {
  EventStream stream(1);
  add(stream, "{\r\n\"a\":", "\n1\r}");
  EXPECT_EQ(read_all(stream), "id: 1-1\ndata: {  \"a\": 1 }\n\n");
}

TEST(Stream, goes_back_to_any_event_it_keeps) {
  EventStream stream(1);
  for (const auto* message : {"1", "2", "3"}) {
    add(stream, message);
  }
  (void)read_all(stream);
  EXPECT_TRUE(stream.rewind(1));
  EXPECT_EQ(read_all(stream), "id: 1-2\ndata: 2\n\nid: 1-3\ndata: 3\n\n");
  EXPECT_TRUE(stream.rewind(0));
  EXPECT_TRUE(stream.rewind(3));
  EXPECT_EQ(read_all(stream), "");
  EXPECT_FALSE(stream.rewind(4));
  EXPECT_FALSE(stream.rewind(UINT64_MAX));
  stream.keep(stream.bytes() - 1);  // forgets the first
  EXPECT_FALSE(stream.rewind(0));
  EXPECT_TRUE(stream.rewind(1));
  EXPECT_EQ(read_all(stream), "id: 1-2\ndata: 2\n\nid: 1-3\ndata: 3\n\n");
}

TEST(Stream, keeps_what_was_not_read_whatever_its_size) {
  EventStream stream(1);
  add(stream, "1");
  stream.keep(0);
  EXPECT_EQ(read_all(stream), "id: 1-1\ndata: 1\n\n");
  stream.keep(0);
  EXPECT_EQ(stream.bytes(), 0U);
  add(stream, "2");
  EXPECT_EQ(read_all(stream), "id: 1-2\ndata: 2\n\n");
}

TEST(Stream, a_half_read_event_is_read_again_by_the_next_connection) {
  EventStream stream(1);
  add(stream, "12345");
  std::array<char, 12> half{};
  EXPECT_EQ(stream.read(half), half.size());
  stream.disconnected();
  stream.open(false);
  EXPECT_EQ(read_all(stream), "retry: 1000\n\nid: 1-1\ndata: 12345\n\n");
  EXPECT_EQ(stream.unread(), 0U);
}

TEST(Stream, a_large_message_is_kept_from_its_loan_until_it_was_read) {
  const std::string text(std::size_t{1} << 20, 'x');
  EventStream stream(1);
  {
    io::ByteBuffer buffer;
    buffer.append("12" + text + "\n");
    const io::Loan loan(buffer, buffer.size());
    const std::array parts{std::string_view("id"), buffer.view().substr(2, text.size())};
    stream.add(parts);
  }
  add(stream, "2");
  std::array<char, 5000> part{};
  EXPECT_EQ(stream.read(part), part.size());
  stream.disconnected();
  stream.keep(0);
  EXPECT_TRUE(stream.rewind(0)) << "not all of it was read";
  const auto expected = "id: 1-1\ndata: id" + text + "\n\nid: 1-2\ndata: 2\n\n";
  EXPECT_EQ(stream.unread(), expected.size());
  EXPECT_EQ(read_all(stream, 30'000), expected);
  stream.keep(256 * 1024);
  EXPECT_EQ(stream.bytes(), std::string_view("id: 1-2\ndata: 2\n\n").size());
  EXPECT_FALSE(stream.rewind(0));
  EXPECT_TRUE(stream.rewind(1));
}

TEST(Stream, forgets_without_using_a_number_twice) {
  EventStream stream(1);
  add(stream, "1");
  add(stream, "2");
  stream.forget();
  EXPECT_EQ(stream.unread(), 0U);
  add(stream, "3");
  EXPECT_EQ(read_all(stream), "id: 1-3\ndata: 3\n\n");
  EXPECT_FALSE(stream.rewind(1));
  EXPECT_TRUE(stream.rewind(2));
}

TEST(Stream, a_comment_keeps_a_silent_stream_alive_and_parts_no_event) {
  EventStream stream(1);
  stream.keep_alive();
  EXPECT_EQ(read_all(stream), ":\n\n");
  add(stream, "1");
  stream.keep_alive();
  EXPECT_EQ(read_all(stream), "id: 1-1\ndata: 1\n\n");
}

}  // namespace
}  // namespace hal::http
