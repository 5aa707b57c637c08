#include "init/protocol.hpp"

#include <cstring>
#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace hal::init {
namespace {

/** Places in the datagram of a request; the wire form is an interface between two programs. */
constexpr std::size_t at_version = 0;
constexpr std::size_t at_kind = 4;
constexpr std::size_t at_flags = 16;
constexpr std::size_t at_argv_words = 28;
constexpr std::size_t at_env_entries = 32;
constexpr std::size_t at_string_bytes = 36;
constexpr std::size_t header_bytes = 40;

Request exec_request() {
  Request request;
  request.kind = RequestKind::exec;
  request.id = ExecId{42};
  request.terminal = true;
  request.rows = 50;
  request.columns = 132;
  request.cwd = "/workspace";
  request.argv = {"sh", "-c", "echo \"hi\"", ""};
  request.env = {"PATH=/bin", "EMPTY=", "EQUALS=a=b"};
  return request;
}

void put(std::string& datagram, std::size_t at, std::uint32_t value) {
  std::memcpy(datagram.data() + at, &value, sizeof value);
}

TEST(InitProtocol, requests_survive_the_way) {
  Request main = exec_request();
  main.kind = RequestKind::main;
  main.terminal = false;
  Request prepare = main;
  prepare.kind = RequestKind::prepare;
  prepare.argv.clear();
  Request signal;
  signal.kind = RequestKind::signal;
  signal.id = ExecId{7};
  signal.signal = 64;
  Request resize;
  resize.kind = RequestKind::resize;
  resize.id = ExecId{~std::uint64_t{0}};
  resize.rows = 65535;
  resize.columns = 1;
  Request ping;
  ping.kind = RequestKind::ping;
  ping.id = ExecId{9};
  for (const auto& request : {exec_request(), main, prepare, signal, resize, ping}) {
    const auto datagram = encode(request);
    ASSERT_TRUE(datagram) << datagram.error().message;
    const auto decoded = decode_request(*datagram);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(*decoded, request);
  }
}

TEST(InitProtocol, encode_refuses_what_decode_would) {
  struct Case {
    const char* what;
    std::function<void(Request&)> change;
    Errc code;
  };
  const Case cases[] = {
      {"no id", [](Request& r) { r.id = ExecId{0}; }, Errc::invalid_argument},
      {"no argv", [](Request& r) { r.argv.clear(); }, Errc::invalid_argument},
      {"empty program", [](Request& r) { r.argv[0].clear(); }, Errc::invalid_argument},
      {"relative cwd", [](Request& r) { r.cwd = "workspace"; }, Errc::invalid_argument},
      {"empty cwd", [](Request& r) { r.cwd.clear(); }, Errc::invalid_argument},
      {"long cwd", [](Request& r) { r.cwd.assign(limits::path_bytes, '/'); }, Errc::limit},
      {"NUL in cwd", [](Request& r) { r.cwd.push_back('\0'); }, Errc::invalid_argument},
      {"NUL in argv", [](Request& r) { r.argv[1] = std::string("a\0b", 3); }, Errc::invalid_argument},
      {"NUL in env", [](Request& r) { r.env[0] = std::string("A=\0", 3); }, Errc::invalid_argument},
      {"env without =", [](Request& r) { r.env[0] = "PATH"; }, Errc::invalid_argument},
      {"env without name", [](Request& r) { r.env[0] = "=x"; }, Errc::invalid_argument},
      {"many words", [](Request& r) { r.argv.assign(limits::argv_words + 1, "x"); }, Errc::limit},
      {"many variables", [](Request& r) { r.env.assign(limits::env_entries + 1, "A=b"); }, Errc::limit},
      {"too long in all", [](Request& r) { r.argv[1].assign(limits::channel_message_bytes, 'x'); }, Errc::limit},
      {"signal in an exec", [](Request& r) { r.signal = 9; }, Errc::invalid_argument},
      {"terminal in main", [](Request& r) { r.kind = RequestKind::main; }, Errc::invalid_argument},
      {"a program in a prepare",
       [](Request& r) {
         r.kind = RequestKind::prepare;
         r.terminal = false;
       },
       Errc::invalid_argument},
      {"strings in a resize",
       [](Request& r) {
         r.kind = RequestKind::resize;
         r.terminal = false;
       },
       Errc::invalid_argument},
      {"signal 0",
       [](Request& r) {
         r = Request{};
         r.kind = RequestKind::signal;
         r.id = ExecId{1};
       },
       Errc::invalid_argument},
      {"signal 65",
       [](Request& r) {
         r = Request{};
         r.kind = RequestKind::signal;
         r.id = ExecId{1};
         r.signal = 65;
       },
       Errc::invalid_argument},
  };
  for (const auto& test : cases) {
    Request request = exec_request();
    test.change(request);
    const auto datagram = encode(request);
    ASSERT_FALSE(datagram) << test.what;
    EXPECT_EQ(datagram.error().code, test.code) << test.what;
  }
}

TEST(InitProtocol, the_limits_themselves_are_allowed) {
  Request request = exec_request();
  request.argv.assign(limits::argv_words, "x");
  request.env.assign(limits::env_entries, "A=b");
  request.cwd.assign(limits::path_bytes - 1, '/');
  const auto small = encode(request);
  ASSERT_TRUE(small);
  request.argv[0].append(limits::channel_message_bytes - small->size(), 'x');
  const auto datagram = encode(request);
  ASSERT_TRUE(datagram);
  EXPECT_EQ(datagram->size(), limits::channel_message_bytes);
  const auto decoded = decode_request(*datagram);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, request);
}

TEST(InitProtocol, decode_refuses_malformed_requests) {
  const std::string good = *encode(exec_request());
  struct Case {
    const char* what;
    std::function<void(std::string&)> change;
  };
  const Case cases[] = {
      {"version", [](std::string& d) { put(d, at_version, 2); }},
      {"kind 0", [](std::string& d) { put(d, at_kind, 0); }},
      {"kind 6", [](std::string& d) { put(d, at_kind, 6); }},
      {"unknown flag", [](std::string& d) { put(d, at_flags, 3); }},
      {"fewer words than said", [](std::string& d) { put(d, at_argv_words, 200); }},
      {"more words than said", [](std::string& d) { put(d, at_argv_words, 1); }},
      {"words beyond the limit", [](std::string& d) { put(d, at_argv_words, ~0U); }},
      {"variables beyond the limit", [](std::string& d) { put(d, at_env_entries, ~0U); }},
      {"string bytes too many", [](std::string& d) { put(d, at_string_bytes, ~0U); }},
      {"string bytes too few", [](std::string& d) { put(d, at_string_bytes, 1); }},
      {"no NUL at the end", [](std::string& d) { d.back() = 'x'; }},
      {"bytes after the end", [](std::string& d) { d.push_back('\0'); }},
      {"relative cwd", [](std::string& d) { d[header_bytes] = 'x'; }},
  };
  for (const auto& test : cases) {
    std::string datagram = good;
    test.change(datagram);
    EXPECT_FALSE(decode_request(datagram)) << test.what;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(decode_request(std::string_view(good).substr(0, size))) << size;
  }
  EXPECT_FALSE(decode_request(good + std::string(limits::channel_message_bytes, '\0')));
}

TEST(InitProtocol, an_exec_without_terminal_comes_with_its_stdio) {
  Request request = exec_request();
  EXPECT_EQ(fds_with(request), 0U);
  request.terminal = false;
  EXPECT_EQ(fds_with(request), 3U);
  request.kind = RequestKind::main;
  EXPECT_EQ(fds_with(request), 0U);
}

TEST(InitProtocol, records_survive_the_way) {
  for (const auto kind : {RecordKind::hello, RecordKind::running, RecordKind::started, RecordKind::failed,
                          RecordKind::exited, RecordKind::main_exited}) {
    Record record;
    record.kind = kind;
    record.id = ExecId{kind == RecordKind::hello ? 0U : 9U};
    record.pid = 12;
    record.error = 2;
    record.status = 0x8b;
    const auto decoded = decode_record(encode(record));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(*decoded, record);
  }
}

TEST(InitProtocol, only_a_started_terminal_comes_with_a_descriptor) {
  Record record;
  record.kind = RecordKind::started;
  record.id = ExecId{1};
  EXPECT_EQ(fds_with(record), 0U);
  record.flags = record_terminal;
  EXPECT_EQ(fds_with(record), 1U);
  record.kind = RecordKind::running;
  EXPECT_EQ(fds_with(record), 0U);
}

TEST(InitProtocol, decode_refuses_malformed_records) {
  Record good;
  good.kind = RecordKind::exited;
  good.id = ExecId{3};
  ASSERT_TRUE(decode_record(encode(good)));
  const std::function<void(Record&)> changes[] = {
      [](Record& r) { r.kind = static_cast<RecordKind>(0); },
      [](Record& r) { r.kind = static_cast<RecordKind>(9); },
      [](Record& r) { r.version = 2; },
      [](Record& r) { r.flags = 4; },
      [](Record& r) { r.id = ExecId{0}; },
      [](Record& r) { r.kind = RecordKind::hello; },  // a hello has an id only with record_main_started
  };
  for (std::size_t i = 0; i < std::size(changes); ++i) {
    Record record = good;
    changes[i](record);
    EXPECT_FALSE(decode_record(encode(record))) << i;
  }
  EXPECT_FALSE(decode_record(""));
  EXPECT_FALSE(decode_record(encode(good) + "x"));
  EXPECT_FALSE(decode_record(encode(good).substr(1)));
}

}  // namespace
}  // namespace hal::init
