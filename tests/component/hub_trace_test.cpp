#include "base/text.hpp"
#include "hub_modern_support.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <set>

namespace hal::hub::test {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

constexpr std::uint32_t owner_of_a = 1000;
constexpr std::uint32_t owner_of_b = 2000;

/** With readers of traffic. */
template <class Base>
class Traced : public Base {
 public:
  /** Where a trace's lines come out. */
  struct Reader {
    UniqueFd fd;
    std::string bytes;
    bool open = true;
  };

  /** Starts a trace; the hub's answer is the last CallResult. */
  Reader trace(link::Trace request) {
    auto pipe = hal::test::make_pipe();
    request.id = ++traces;
    request.server = "s";
    request.pipe = std::move(pipe.write);
    this->hub->trace(std::move(request));
    return {std::move(pipe.read), {}};
  }
  Result<std::string> answer() { return this->template told<link::CallResult>().back()->result; }

  static link::Trace of(std::uint32_t owner) {
    link::Trace request;
    request.owner = owner;
    return request;
  }
  static link::Trace of_all() {
    link::Trace request;
    request.all = true;
    return request;
  }

  static void read_some(Reader& reader) {
    pollfd ready{reader.fd.get(), POLLIN, 0};
    if (reader.open && ::poll(&ready, 1, 0) == 1) {
      char buffer[65536];
      const auto bytes = ::read(reader.fd.get(), buffer, sizeof buffer);
      reader.bytes.append(buffer, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
      reader.open = bytes > 0;
    }
  }

  /** The next line, waited for; null at the end. */
  Json next(Reader& reader) {
    const event::Io source(this->loop, reader.fd.get(), EPOLLIN, "trace", [&](std::uint32_t) { read_some(reader); });
    const bool came =
        run_until(this->loop, [&] { return reader.bytes.find('\n') != std::string::npos || !reader.open; });
    const auto end = reader.bytes.find('\n');
    if (end == std::string::npos) {
      EXPECT_TRUE(came) << "no line and no end";
      EXPECT_EQ(reader.bytes, "") << "an unfinished line";
      return nullptr;
    }
    const auto line = reader.bytes.substr(0, end);
    reader.bytes.erase(0, end + 1);
    EXPECT_TRUE(text::is_utf8(line));
    return Json::parse(line);
  }
  bool silent(Reader& reader) {
    run_ready(this->loop);
    read_some(reader);
    return reader.bytes.empty();
  }

  std::uint64_t traces = 0;
};

class Trace : public Traced<HubTest>, public testing::WithParamInterface<link::ServerMode> {
 public:
  Trace() {
    add_server("s", GetParam());
    add_worker("a", {"s"});
    add_worker("b", {"s"});
    hub->add_worker({{"b"}, owner_of_b, {"s"}, {}});
  }

  std::unique_ptr<RelayPeer> ready_client(const std::string& worker) {
    auto client = connect(worker);
    client->initialize("s", {{"roots", Json::object()}});
    if (process == nullptr || GetParam() == link::ServerMode::session) {
      process = &start_process("s");
    }
    EXPECT_TRUE(client->next().contains("result"));
    client->notify("notifications/initialized");
    // In mode session a ping is the server's.
    client->send(request("ready", "ping"));
    if (GetParam() == link::ServerMode::session) {
      process->answer(process->next(), Json::object());
    }
    EXPECT_EQ(client->next()["id"], "ready");
    return client;
  }

  FakeProcess* process = nullptr;
};

TEST_P(Trace, shows_each_message_as_its_client_sees_it) {
  auto a = ready_client("a");
  auto reader = trace(of(owner_of_a));
  ASSERT_TRUE(answer().has_value());

  const std::string call =
      R"({"jsonrpc":"2.0","id":"c-1","method":"tools/call","params":{"name":"echo","_meta":{"progressToken":"p"}}})";
  a->send_raw(call);
  const auto received = process->next();
  const auto asked = next(reader);
  EXPECT_EQ(asked["from"], "client");
  EXPECT_EQ(asked["kind"], "request");
  EXPECT_EQ(asked["method"], "tools/call");
  EXPECT_EQ(asked["tool"], "echo");
  EXPECT_EQ(asked["id"], "c-1");
  EXPECT_EQ(asked["bytes"], call.size());
  EXPECT_EQ(asked["worker"], "a");
  EXPECT_EQ(asked["owner"], owner_of_a);
  EXPECT_EQ(asked["session"].get<std::string>().size(), 8U);
  EXPECT_GT(asked["time"], 1'600'000'000'000'000);
  EXPECT_FALSE(asked.contains("payload"));
  EXPECT_FALSE(asked.contains("duration_usec"));

  process->send(notification("notifications/progress",
                             {{"progressToken", received["params"]["_meta"]["progressToken"]}, {"progress", 1}}));
  const auto progress = next(reader);
  EXPECT_EQ(progress["from"], "server");
  EXPECT_EQ(progress["kind"], "notification");
  EXPECT_EQ(progress["method"], "notifications/progress");
  EXPECT_EQ(progress["bytes"], a->next_raw().size());

  process->send(request(77, "roots/list"));
  const auto question = a->next();
  const auto shown = next(reader);
  EXPECT_EQ(shown["from"], "server");
  EXPECT_EQ(shown["kind"], "request");
  EXPECT_EQ(shown["method"], "roots/list");
  EXPECT_EQ(shown["id"], question["id"]) << "as the client has it";
  a->send({{"jsonrpc", "2.0"}, {"id", question["id"]}, {"result", {{"roots", Json::array()}}}});
  const auto roots = next(reader);
  EXPECT_EQ(roots["from"], "client");
  EXPECT_EQ(roots["kind"], "result");
  EXPECT_EQ(roots["id"], question["id"]);
  (void)process->next();

  process->answer(received, {{"content", Json::array()}, {"isError", true}});
  const auto bytes = a->next_raw().size();
  const auto answered = next(reader);
  EXPECT_EQ(answered["kind"], "result");
  EXPECT_EQ(answered["from"], "server");
  EXPECT_EQ(answered["method"], "tools/call");
  EXPECT_EQ(answered["tool"], "echo");
  EXPECT_EQ(answered["id"], "c-1");
  EXPECT_EQ(answered["outcome"], "tool-error");
  EXPECT_EQ(answered["bytes"], bytes);
  EXPECT_TRUE(answered["duration_usec"].is_number_unsigned());

  a->send(request(2, "resources/read"));
  const auto read = process->next();
  process->send({{"jsonrpc", "2.0"}, {"id", read["id"]}, {"error", {{"code", -32002}, {"message", "no"}}}});
  EXPECT_EQ(next(reader)["method"], "resources/read");
  const auto failed = next(reader);
  EXPECT_EQ(failed["kind"], "error");
  EXPECT_EQ(failed["outcome"], "error");
  EXPECT_EQ(failed["id"], 2);
  (void)a->next();

  a->send(request(3, "tools/list"));
  (void)process->next();
  a->notify("notifications/cancelled", {{"requestId", 3}});
  EXPECT_EQ(next(reader)["id"], 3);
  const auto cancelled = next(reader);
  EXPECT_EQ(cancelled["method"], "notifications/cancelled");
  EXPECT_EQ(cancelled["from"], "client");
  EXPECT_TRUE(silent(reader));
}

TEST_P(Trace, shows_what_the_gateway_answers_itself) {
  link::ServerSet server;
  server.name = "s";
  server.mode = GetParam();
  server.tools.deny = {{"write_*", {}}};
  hub->set_server(server);
  auto a = ready_client("a");
  auto reader = trace(of(owner_of_a));
  EXPECT_TRUE(a->ask(1, "tools/call", {{"name", "write_file"}}).contains("result"));
  EXPECT_EQ(next(reader)["tool"], "write_file");
  const auto refused = next(reader);
  EXPECT_EQ(refused["outcome"], "refused");
  EXPECT_EQ(refused["tool"], "write_file");

  a->send(request(2, "tools/list"));
  (void)process->next();
  EXPECT_EQ(a->ask(2, "prompts/list")["error"]["code"], -32600);
  EXPECT_EQ(next(reader)["method"], "tools/list");
  EXPECT_EQ(next(reader)["method"], "prompts/list");
  const auto twice = next(reader);
  EXPECT_EQ(twice["kind"], "error");
  EXPECT_FALSE(twice.contains("method")) << "the request with this id is still open";
  EXPECT_FALSE(twice.contains("duration_usec"));
}

TEST_P(Trace, shows_nobody_what_is_anothers) {
  auto of_a = trace(of(owner_of_a));
  auto of_b = trace(of(owner_of_b));
  auto of_nobody = trace(of(3000));
  auto root_as_anyone = trace(of(0));
  auto of_everybody = trace(of_all());
  auto a = ready_client("a");
  EXPECT_EQ(next(of_a)["method"], "initialize");
  EXPECT_EQ(next(of_everybody)["worker"], "a");
  auto b = ready_client("b");
  EXPECT_EQ(next(of_b)["worker"], "b");
  for (auto* reader : {&of_a, &of_b, &of_everybody}) {
    std::set<std::string> workers;
    while (!silent(*reader)) {
      workers.insert(next(*reader)["worker"].get<std::string>());
    }
    EXPECT_EQ(workers, reader == &of_a   ? std::set<std::string>{"a"}
                       : reader == &of_b ? std::set<std::string>{"b"}
                                         : (std::set<std::string>{"a", "b"}));
  }

  // The daemon's own calls are of no worker.
  hub->call({100, "s", "resources/list", ""});
  if (GetParam() == link::ServerMode::session) {
    process = &start_process("s");
  }
  process->answer(process->next_of("resources/list"), Json::object());
  ASSERT_TRUE(wait_told<link::CallResult>(6));
  const auto own = next(of_everybody);
  EXPECT_EQ(own["worker"], "");
  EXPECT_EQ(own["method"], "initialize");
  for (auto* reader : {&of_a, &of_b, &of_nobody, &root_as_anyone}) {
    EXPECT_TRUE(silent(*reader)) << reader->bytes;
  }
}

TEST_P(Trace, a_trace_of_one_worker_ends_with_it) {
  hub->add_worker({{"b"}, owner_of_a, {"s"}, {}});
  auto request_of_b = of(owner_of_a);
  request_of_b.worker = "b";
  auto of_b = trace(std::move(request_of_b));
  auto of_both = trace(of(owner_of_a));
  auto a = ready_client("a");
  EXPECT_TRUE(silent(of_b)) << of_b.bytes;
  auto b = ready_client("b");
  EXPECT_EQ(next(of_b)["worker"], "b");
  hub->remove_worker({"b"});
  auto last = next(of_b);
  while (!last.contains("end")) {
    last = next(of_b);
  }
  EXPECT_EQ(last["end"], "worker-gone");
  EXPECT_EQ(last["reason"], "worker b is gone");
  EXPECT_TRUE(next(of_b).is_null());
  a->notify("notifications/roots/list_changed");
  auto after = next(of_both);
  while (after.value("method", "") != "notifications/roots/list_changed") {
    ASSERT_FALSE(after.contains("end"));
    after = next(of_both);
  }
}

TEST_P(Trace, ends_with_the_server_and_with_the_gateway) {
  auto first = trace(of_all());
  hub->remove_server("s");
  EXPECT_EQ(next(first)["end"], "server-removed");
  EXPECT_TRUE(next(first).is_null());

  (void)trace(of_all());
  EXPECT_EQ(answer().error().code, Errc::not_found);

  add_server("s", GetParam());
  auto second = trace(of_all());
  hub->end_traces("hal9000d is gone");
  const auto end = next(second);
  EXPECT_EQ(end["end"], "stopped");
  EXPECT_EQ(end["reason"], "hal9000d is gone");
  EXPECT_TRUE(next(second).is_null());

  auto third = trace(of_all());
  hub->shut_down("the gateway is stopping", [] {});
  EXPECT_EQ(next(third)["end"], "stopped");
  EXPECT_TRUE(next(third).is_null());
}

TEST_P(Trace, the_number_of_readers_is_bounded_and_who_leaves_makes_room) {
  std::vector<Reader> readers;
  for (std::size_t i = 0; i < limits::traces_per_user; ++i) {
    readers.push_back(trace(of(owner_of_a)));
    EXPECT_TRUE(answer().has_value());
  }
  (void)trace(of(owner_of_a));
  ASSERT_FALSE(answer().has_value());
  EXPECT_EQ(answer().error().code, Errc::limit);
  EXPECT_NE(answer().error().message.find("server s is traced 4 times already"), std::string::npos);
  for (std::size_t i = limits::traces_per_user; i < limits::traces_per_server; ++i) {
    readers.push_back(trace(of(static_cast<std::uint32_t>(5000 + i))));
    EXPECT_TRUE(answer().has_value()) << i;
  }
  (void)trace(of(owner_of_b));
  EXPECT_EQ(answer().error().code, Errc::limit);

  readers.erase(readers.begin());
  ASSERT_TRUE(run_until(loop, [&] {
    auto again = trace(of(owner_of_a));
    const bool taken = answer().has_value();
    readers.push_back(std::move(again));
    return taken;
  }));
  auto a = ready_client("a");
  EXPECT_EQ(next(readers.back())["method"], "initialize");
}

TEST_P(Trace, a_reader_that_does_not_read_loses_lines_is_told_and_slows_nobody) {
  auto a = ready_client("a");
  auto slow = trace(of(owner_of_a));
  auto fast = trace(of(owner_of_a));
  process->on_message = [&](const Json& message) { process->answer(message, Json::object()); };
  constexpr int calls = 3000;
  std::size_t seen = 0;
  for (int i = 0; i < calls; ++i) {
    EXPECT_EQ(a->ask(i, "tools/call", {{"name", "echo"}})["id"], i);
    for (; !silent(fast); ++seen) {
      (void)next(fast);
    }
  }
  EXPECT_EQ(seen, 2U * calls);
  // The pipe, what waits behind it, and nothing more.
  std::size_t got = 0;
  std::uint64_t lost = 0;
  while (lost == 0) {
    const auto line = next(slow);
    ASSERT_TRUE(line.is_object());
    lost = line.value("lost", 0U);
    got += lost == 0 ? 1 : 0;
  }
  EXPECT_EQ(got + lost, 2U * calls);
  EXPECT_GT(lost, calls / 2U);
  EXPECT_EQ(a->ask("after", "tools/list")["id"], "after");
  EXPECT_EQ(next(slow)["id"], "after");
  EXPECT_EQ(next(slow)["id"], "after");
}

TEST_P(Trace, payloads_come_only_when_asked_for_and_cut_between_characters) {
  auto a = ready_client("a");
  auto without = trace(of(owner_of_a));
  auto request_with = of(owner_of_a);
  request_with.payloads = true;
  auto with = trace(std::move(request_with));
  a->send_raw(R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"t":"a\"b"}})");
  (void)process->next();
  EXPECT_FALSE(next(without).contains("payload"));
  const auto whole = next(with);
  EXPECT_EQ(whole["payload"], R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"t":"a\"b"}})");
  EXPECT_FALSE(whole.contains("payload_cut"));

  // Whatever the cut falls on: one of four places in a character of four bytes.
  for (int shift = 0; shift < 4; ++shift) {
    std::string text(static_cast<std::size_t>(shift), 'x');
    while (text.size() < 3 * limits::trace_payload_bytes) {
      text += "\xf0\x9f\x99\x82";
    }
    const auto line = R"({"jsonrpc":"2.0","method":"notifications/x","params":{"t":")" + text + "\"}}";
    a->send_raw(line);
    (void)process->next();
    const auto cut = next(with);
    EXPECT_EQ(cut["payload_cut"], true);
    EXPECT_EQ(cut["bytes"], line.size());
    const auto payload = cut["payload"].get<std::string>();
    EXPECT_EQ(line.substr(0, payload.size()), payload);
    EXPECT_GT(payload.size(), limits::trace_payload_bytes - 4);
    EXPECT_LE(payload.size(), limits::trace_payload_bytes);
  }
}

TEST_P(Trace, odd_ids_and_names_make_no_odd_lines) {
  auto a = ready_client("a");
  auto reader = trace(of(owner_of_a));
  for (const std::string id : {R"("\u0041\n")", "-0", "1e5", "12345678901234567890123"}) {
    a->send_raw(R"({"jsonrpc":"2.0","id":)" + id + R"(,"method":"x"})");
    const auto received = process->next_raw();
    process->send_raw(R"({"jsonrpc":"2.0","id":)" + std::string(jsonrpc::scan(received).id) + R"(,"result":{}})");
    (void)a->next_raw();
    const auto asked = next(reader);
    EXPECT_EQ(asked["id"], Json::parse(id)) << id;
    EXPECT_EQ(next(reader)["id"], Json::parse(id)) << id;
  }
  const std::string large(std::size_t{1} << 20, 'i');
  a->send_raw(R"({"jsonrpc":"2.0","id":")" + large + R"(","method":"tools/call","params":{"name":")" + large + "\"}}");
  const auto shown = next(reader);
  EXPECT_LT(shown.dump().size(), 1000U);
  EXPECT_EQ(shown["id"].get<std::string>().substr(1, 100), large.substr(0, 100));
  EXPECT_EQ(shown["tool"].get<std::string>().substr(0, 100), large.substr(0, 100));
}

/** Clients of revision 2026-07-28 and older ones at one server. */
class BothRevisions : public Traced<EitherMode> {};

TEST_P(BothRevisions, are_seen_by_one_trace_as_each_client_sees_them) {
  auto reader = trace(of_all());
  auto a = client("a");
  a->send(modern(1, "tools/list"));
  auto& modern_side = modern_process();
  modern_side.answer(modern_side.next(), {{"resultType", "complete"}, {"tools", Json::array()}});
  EXPECT_EQ(a->next()["id"], 1);
  auto b = connect("b");
  b->initialize("s");
  (void)start_process("s");
  EXPECT_EQ(b->next()["id"], 0);
  for (const auto& [worker, method] : {std::pair("a", "tools/list"), std::pair("b", "initialize")}) {
    const auto asked = next(reader);
    EXPECT_EQ(asked["worker"], worker);
    EXPECT_EQ(asked["method"], method);
    EXPECT_EQ(asked["from"], "client");
    const auto answered = next(reader);
    EXPECT_EQ(answered["worker"], worker);
    EXPECT_EQ(answered["method"], method);
    EXPECT_EQ(answered["from"], "server");
    EXPECT_EQ(answered["outcome"], "ok");
  }
  EXPECT_TRUE(silent(reader)) << reader.bytes;
}

TEST_P(BothRevisions, what_is_translated_for_a_server_is_seen_once) {
  auto reader = trace(of_all());
  auto a = client("a");
  a->send(modern("x", "tools/call", {{"name", "echo"}}));
  auto& process = legacy_process();
  process.answer(process.next_of("tools/call"), {{"content", Json::array()}});
  const auto bytes = a->next_raw().size();
  EXPECT_EQ(next(reader)["tool"], "echo");
  const auto answered = next(reader);
  EXPECT_EQ(answered["id"], "x");
  EXPECT_EQ(answered["tool"], "echo");
  EXPECT_EQ(answered["bytes"], bytes);
  EXPECT_TRUE(silent(reader)) << reader.bytes;
}

TEST_P(BothRevisions, a_changed_mode_ends_no_trace) {
  auto reader = trace(of_all());
  auto a = connect("a");
  a->initialize("s");
  (void)start_process("s");
  EXPECT_EQ(a->next()["id"], 0);
  EXPECT_EQ(next(reader)["kind"], "request");
  EXPECT_EQ(next(reader)["kind"], "result");
  const bool was_shared = GetParam() == link::ServerMode::shared;
  add_server("s", was_shared ? link::ServerMode::session : link::ServerMode::shared);
  ASSERT_TRUE(run_until(loop, [&] { return a->closed; }));
  auto b = connect("b");
  b->initialize("s");
  EXPECT_EQ(next(reader)["worker"], "b");
}

constexpr auto name_of_mode = [](const auto& mode) {
  return mode.param == link::ServerMode::shared ? "shared" : "session";
};
INSTANTIATE_TEST_SUITE_P(Modes, Trace, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         name_of_mode);
INSTANTIATE_TEST_SUITE_P(Modes, BothRevisions, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         name_of_mode);

}  // namespace
}  // namespace hal::hub::test
