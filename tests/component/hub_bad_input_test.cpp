#include "hub_support.hpp"
#include "io/listener.hpp"

#include <sys/socket.h>
#include <unistd.h>

/**
 * What nobody should send, from clients and from servers, in both modes. Another worker's session, the witness, goes on
 * calling the same server, and each of its answers must be right.
 */
namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

constexpr int deep = 100'000;

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) {
    all += text;
  }
  return all;
}

class BadInput : public HubTest, public testing::WithParamInterface<link::ServerMode> {
 public:
  BadInput() {
    add_server("s", GetParam());
    add_worker("a", {"s"});
    add_worker("b", {"s"});
    witness = ready_client("b");
  }

  [[nodiscard]] static bool shared() { return GetParam() == link::ServerMode::shared; }

  /** Gives the hub the processes it asks for, and forgets those it has closed. */
  void serve() {
    std::erase_if(processes, [](const auto& one) { return one->closed; });
    while (served < told<link::InstanceRequest>().size()) {
      ++served;
      auto& process = start_process("s");
      process.on_message = [this, &process](const Json& message) { on_server_message(process, message); };
    }
  }
  /** Answers with what was asked, but for "hang". */
  void on_server_message(FakeProcess& process, const Json& message) {
    const auto method = message.value("method", "");
    hangs += method == "hang" ? 1 : 0;
    // In mode session the end of a client cancels its initialize too.
    const bool of_a_hang = shared() || message.value("/params/requestId"_json_pointer, Json()) != 0;
    cancels += method == "notifications/cancelled" && of_a_hang ? 1 : 0;
    if (method == "hang") {
      hanging = message;
      hanging_at = &process;
    } else if (message.contains("id") && !method.empty()) {
      process.answer(message, {{"params", message.value("params", Json())}});
    }
  }
  bool wait(const std::function<bool()>& predicate) {
    return run_until(
        loop,
        [&] {
          serve();
          return predicate();
        },
        30s);
  }

  Json next(RelayPeer& peer) {
    EXPECT_TRUE(wait([&] { return !peer.lines.empty() || peer.closed; }));
    return peer.lines.empty() ? Json() : peer.next();
  }
  std::unique_ptr<RelayPeer> ready_client(const std::string& worker) {
    auto client = connect(worker);
    client->initialize("s");
    EXPECT_TRUE(next(*client).contains("result"));
    client->notify("notifications/initialized");
    return client;
  }

  /** A call of the client's own that must be answered before anything else comes. */
  void expect_right_answer(RelayPeer& peer, const std::string& who) {
    const int serial = ++serials;
    peer.send(request(serial, "tools/call", {{"who", who}, {"serial", serial}}));
    EXPECT_EQ(next(peer),
              Json({{"jsonrpc", "2.0"}, {"id", serial}, {"result", {{"params", {{"who", who}, {"serial", serial}}}}}}));
  }
  void witness_calls() { expect_right_answer(*witness, "witness"); }

  std::unique_ptr<RelayPeer> witness;
  std::size_t served = 0;
  int serials = 1000;
  int hangs = 0;
  int cancels = 0;
  Json hanging;
  FakeProcess* hanging_at = nullptr;
};

TEST_P(BadInput, lines_that_are_no_messages_get_the_specified_error) {
  const std::pair<std::string, int> lines[] = {
      {"{nonsense", -32700},
      {"\xff\xfe", -32700},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc3\"}", -32700},
      {"5", -32700},
      {"\"text\"", -32700},
      {"{} {}", -32700},
      {repeated("[", deep), -32700},
      {repeated("{\"a\":", deep), -32700},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","params":)" + repeated("[", deep) + repeated("]", deep) + "}", -32700},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","params":)" + repeated("{\"a\":", deep) + "1" + repeated("}", deep) +
           "}",
       -32700},
      {R"({"jsonrpc":"2.0","id":1,"id":2,"method":"x"})", -32600},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","method":"y"})", -32600},
      {R"({"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}})", -32600},
      {R"({"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"x"})", -32600},
      {R"({"jsonrpc":"2.0","id":null,"method":"x"})", -32600},
      {R"({"jsonrpc":"2.0","id":true,"method":"x"})", -32600},
      {R"({"jsonrpc":"2.0","id":{},"method":"x"})", -32600},
      {R"({"jsonrpc":"2.0","id":[1],"method":"x"})", -32600},
      {R"({"jsonrpc":"2.0","id":1})", -32600},
      {R"({"jsonrpc":"2.0","id":1,"method":5})", -32600},
      {R"({"jsonrpc":"1.0","id":1,"method":"x"})", -32600},
      {R"({"id":1,"method":"x"})", -32600},
      {R"({"jsonrpc":"2.0","id":1,"result":{},"error":{}})", -32600},
      {R"([{"jsonrpc":"2.0","id":1,"method":"x"}])", -32600},
      {"{}", -32600},
  };
  auto a = ready_client("a");
  for (const auto& [line, code] : lines) {
    SCOPED_TRACE(line.substr(0, 80));
    a->send_raw(line);
    const auto answer = next(*a);
    EXPECT_EQ(answer.value("/error/code"_json_pointer, 0), code) << answer;
    EXPECT_TRUE(answer.contains("id"));
    expect_right_answer(*a, "a");
    witness_calls();
  }
}

TEST_P(BadInput, messages_about_nothing_are_dropped) {
  auto a = ready_client("a");
  for (const std::string line : {
           R"({"jsonrpc":"2.0","id":99,"result":{}})",
           R"({"jsonrpc":"2.0","id":"never asked","error":{"code":1,"message":""}})",
           R"({"jsonrpc":"2.0","id":1,"result":{}})",
           R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":12345}})",
           R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}})",
           R"({"jsonrpc":"2.0","method":"notifications/cancelled"})",
           R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}})",
           R"({"jsonrpc":"2.0","method":"notifications/initialized"})",
       }) {
    SCOPED_TRACE(line);
    a->send_raw(line);
    expect_right_answer(*a, "a");
    witness_calls();
  }
}

TEST_P(BadInput, the_ids_of_others_and_of_open_requests_are_of_no_use) {
  auto a = ready_client("a");
  witness->send(request("w", "hang"));
  a->send(request("w", "hang"));
  ASSERT_TRUE(wait([&] { return hangs == 2; }));
  a->send(request("w", "tools/call"));
  EXPECT_EQ(next(*a)["error"]["code"], -32600);
  a->notify("notifications/cancelled", {{"requestId", "w"}});
  ASSERT_TRUE(wait([&] { return cancels == 1; }));
  a->send({{"jsonrpc", "2.0"}, {"id", "w"}, {"result", {{"forged", true}}}});
  expect_right_answer(*a, "a");
  witness_calls();
  EXPECT_TRUE(witness->lines.empty());
  witness->notify("notifications/cancelled", {{"requestId", "w"}});
  ASSERT_TRUE(wait([&] { return cancels == 2; })) << "the witness' request was still open";
}

TEST_P(BadInput, before_initialize_only_the_session_itself_is_refused) {
  auto a = connect("a");
  EXPECT_NE(a->open("s"), "");
  a->notify("notifications/initialized");
  a->notify("notifications/cancelled", {{"requestId", 1}});
  a->send({{"jsonrpc", "2.0"}, {"id", 5}, {"result", Json::object()}});
  a->send(request(1, "tools/list"));
  const auto answer = next(*a);
  EXPECT_EQ(answer["id"], 1);
  EXPECT_EQ(answer.contains("error"), shared()) << "a process of its own answers for itself";
  witness_calls();
  a->send(request(2, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}}));
  EXPECT_EQ(next(*a)["id"], 2);
  a->notify("notifications/initialized");
  expect_right_answer(*a, "a");
}

TEST_P(BadInput, wrong_first_lines_are_refused_and_closed) {
  for (const std::string& line : {
           std::string("GET / HTTP/1.1"),
           std::string("{}"),
           std::string("[]"),
           std::string("\xff"),
           std::string(R"({"hal9000":2,"server":"s"})"),
           std::string(R"({"hal9000":1})"),
           std::string(R"({"hal9000":1,"server":5})"),
           std::string(R"({"hal9000":1,"server":"s","server":"s"})"),
           std::string(R"({"hal9000":1,"server":"s","token":"x"})"),
           std::string(R"({"hal9000":1,"server":"nosuch"})"),
           std::string(R"({"hal9000":1,"server":"../s"})"),
           std::string(R"({"hal9000":1,"server":"s","resume":7})"),
           R"({"hal9000":1,"server":")" + std::string(5000, 's') + "\"}",
           repeated("[", deep),
       }) {
    SCOPED_TRACE(line.substr(0, 80));
    auto a = connect("a");
    a->send_raw(line);
    EXPECT_TRUE(next(*a).contains("error"));
    EXPECT_TRUE(wait([&] { return a->closed; }));
    witness_calls();
  }
  EXPECT_EQ(hub->sessions(), 1U);
}

TEST_P(BadInput, a_session_cannot_be_resumed_by_another_worker) {
  auto victim = connect("b");
  const auto id = victim->open("s");
  victim->send(request(0, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}}));
  ASSERT_TRUE(next(*victim).contains("result"));
  victim->notify("notifications/initialized");
  victim->send(request("secret", "hang"));
  ASSERT_TRUE(wait([&] { return hangs == 1; }));

  auto thief = connect("a");
  thief->send({{"hal9000", 1}, {"server", "s"}, {"resume", id}});
  EXPECT_NE(next(*thief).value("session", id), id);
  thief->send(request(0, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}}));
  ASSERT_TRUE(next(*thief).contains("result"));
  thief->notify("notifications/initialized");
  hanging_at->answer(hanging, {{"secret", true}});
  const auto answer = next(*victim);
  EXPECT_EQ(answer["id"], "secret");
  EXPECT_EQ(answer["result"]["secret"], true);
  expect_right_answer(*thief, "thief");
  expect_right_answer(*victim, "victim");
  witness_calls();
}

TEST_P(BadInput, a_client_that_vanishes_at_any_byte_leaves_nothing_behind) {
  std::string bytes = "{\"hal9000\":1,\"server\":\"s\"}\n";
  for (const auto& message :
       {request(0, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", Json::object()}}),
        notification("notifications/initialized"), request(1, "hang"), request("\u00e9", "hang"),
        notification("notifications/cancelled", {{"requestId", 1}}), request(2, "hang")}) {
    bytes += message.dump() + "\n";
  }
  for (std::size_t cut = 0; cut <= bytes.size() && !HasFailure(); ++cut) {
    SCOPED_TRACE(cut);
    auto socket = io::connect_unix(folder / "a.sock", SOCK_STREAM);
    ASSERT_TRUE(socket.has_value()) << socket.error().message;
    ASSERT_EQ(::send(socket->get(), bytes.data(), cut, MSG_NOSIGNAL), static_cast<ssize_t>(cut));
    if (cut % 3 == 0) {
      run_ready(loop);  // else all of it is read at once with the end
    }
    socket->reset();
    ASSERT_TRUE(wait([&] { return hub->sessions() == 1; }));
    if (cut % 8 == 0) {
      witness_calls();
    }
  }
  witness_calls();
  // What reached the server was cancelled there, and a process for each was given back.
  EXPECT_TRUE(wait([&] { return cancels == hangs; })) << hangs << " requests, " << cancels << " cancelled";
  EXPECT_GT(hangs, 100);
  EXPECT_TRUE(wait([&] { return hub->hello().instances.size() == 1; }));
}

TEST_P(BadInput, what_a_server_says_wrong_harms_no_session) {
  auto a = ready_client("a");
  a->send(request("open", "hang"));
  ASSERT_TRUE(wait([&] { return hangs == 1; }));
  auto& server = *hanging_at;
  const auto id = hanging["id"].dump();
  const std::string lines[] = {
      "Listening on stdio...",
      R"({"jsonrpc":"2.0","id":123456,"result":{}})",
      R"({"jsonrpc":"2.0","id":"123456","result":{}})",
      R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}})",
      R"({"jsonrpc":"2.0","id":{},"result":{}})",
      R"({"jsonrpc":"2.0","id":")" + id + R"(x","result":{}})",
      R"({"jsonrpc":"2.0","id":)" + id + R"(,"id":)" + id + R"(,"result":{}})",
      R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":{},"result":{}})",
      R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":{},"error":{"code":1,"message":""}})",
      R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":)" + repeated("[", deep) + repeated("]", deep) + "}",
      R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":{"t":")" + "\xff" + "\"}}",
      R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":999999,"progress":1}})",
      R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}})",
      R"({"jsonrpc":"2.0","id":true,"method":"roots/list"})",
      R"([])",
      repeated("{\"a\":", deep),
  };
  for (const auto& line : lines) {
    SCOPED_TRACE(line.substr(0, 80));
    server.send_raw(line);
    witness_calls();
  }
  // Its messages to the client pass in mode session, where they are this client's alone; answers never do.
  server.answer(hanging, {{"good", true}});
  server.answer(hanging, {{"again", true}});
  for (;;) {
    const auto message = next(*a);
    ASSERT_FALSE(message.is_null());
    if (message.value("id", Json()) == "open") {
      EXPECT_EQ(message["result"], Json({{"good", true}}));
      break;
    }
    EXPECT_TRUE(!shared() && message.contains("method")) << message;
  }
  expect_right_answer(*a, "a");
  witness_calls();
}

TEST_P(BadInput, an_answer_after_the_cancellation_reaches_nobody) {
  auto a = ready_client("a");
  for (int i = 0; i < 20; ++i) {
    a->send(request("same", "hang"));
    ASSERT_TRUE(wait([&] { return hangs == i + 1; }));
    a->notify("notifications/cancelled", {{"requestId", "same"}});
    ASSERT_TRUE(wait([&] { return cancels == i + 1; }));
    hanging_at->answer(hanging, {{"late", i}});
    expect_right_answer(*a, "a");
    witness_calls();
  }
}

TEST_P(BadInput, a_server_that_floods_is_bounded_and_the_others_go_on) {
  auto a = ready_client("a");
  a->send(request("open", "hang"));
  ASSERT_TRUE(wait([&] { return hangs == 1; }));
  auto& server = *hanging_at;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 500; ++i) {
      server.send_raw("garbage " + std::to_string(i));
      server.send({{"jsonrpc", "2.0"}, {"id", i + 1'000'000}, {"result", Json::object()}});
      server.send(notification("notifications/unknown", {{"n", i}}));
    }
    witness_calls();
  }
  server.answer(hanging, {{"good", true}});
  auto answer = next(*a);
  while (answer.contains("method")) {  // in mode session all of it is this client's
    answer = next(*a);
  }
  EXPECT_EQ(answer["result"]["good"], true);
}

TEST_P(BadInput, a_client_that_floods_and_does_not_read_slows_itself_only) {
  auto a = ready_client("a");
  a->pause();
  const std::string text(std::size_t{16} << 10, 'x');
  for (int i = 0; i < 1000; ++i) {
    a->send(request(i, "tools/call", {{"text", text}}));
    a->send_raw("{nonsense " + text);
    a->notify("notifications/unknown");
  }
  for (int i = 0; i < 50; ++i) {
    witness_calls();
  }
  a->resume();
  int answers = 0;
  int errors = 0;
  while (answers + errors < 2000 && !HasFailure()) {
    const auto message = next(*a);
    ASSERT_FALSE(message.is_null());
    const auto code = message.value("/error/code"_json_pointer, 0);
    if (code == -32700) {
      ++errors;
    } else {
      EXPECT_TRUE(code == 0 || code == -32052) << message.dump().substr(0, 200);
      ++answers;
    }
  }
  EXPECT_EQ(answers, 1000);
  EXPECT_EQ(errors, 1000);
  witness_calls();
}

INSTANTIATE_TEST_SUITE_P(Modes, BadInput, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

}  // namespace
}  // namespace hal::hub::test
