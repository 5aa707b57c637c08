#include "event/loop.hpp"
#include "io/listener.hpp"
#include "link/daemon_end.hpp"
#include "link/gateway_end.hpp"
#include "link/memory_file.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace hal::link {
namespace {

UniqueFd some_fd() {
  return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
}

template <class T>
T round_trip(T message) {
  ToGateway any = std::move(message);
  auto encoded = encode(std::move(any));
  EXPECT_TRUE(encoded.has_value());
  auto decoded = decode_to_gateway(std::move(*encoded));
  EXPECT_TRUE(decoded.has_value()) << decoded.error().message;
  return std::move(std::get<T>(*decoded));
}

template <class T>
T round_trip_up(T message) {
  ToDaemon any = std::move(message);
  auto encoded = encode(std::move(any));
  EXPECT_TRUE(encoded.has_value());
  auto decoded = decode_to_daemon(std::move(*encoded));
  EXPECT_TRUE(decoded.has_value()) << decoded.error().message;
  return std::move(std::get<T>(*decoded));
}

TEST(LinkCodec, carries_every_message_to_the_gateway) {
  const auto worker = round_trip(WorkerAdd{{"0123456789ab"}, 1234, {"memory", "chroma"}, some_fd()});
  EXPECT_EQ(worker.id.value, "0123456789ab");
  EXPECT_EQ(worker.owner, 1234U);
  EXPECT_EQ(worker.servers, (std::vector<std::string>{"memory", "chroma"}));
  EXPECT_TRUE(worker.listener);
  EXPECT_FALSE(round_trip(WorkerAdd{{"0123456789ab"}, 1, {}, {}}).listener);
  EXPECT_EQ(round_trip(WorkerAdd{{"ab"}, 1, {}, {}, "ab.secret"}).token, "ab.secret");
  EXPECT_EQ(round_trip(WorkerRemove{{"ab"}}).id.value, "ab");
  const auto http = round_trip(HttpListen{"4:4026531840", some_fd()});
  EXPECT_EQ(http.network, "4:4026531840");
  EXPECT_TRUE(http.listener);
  EXPECT_TRUE(http.worker.value.empty());
  EXPECT_EQ(round_trip(HttpListen{"4:1", some_fd(), {"ab"}}).worker.value, "ab");
  EXPECT_EQ(round_trip(HttpClose{"4:1"}).network, "4:1");

  const auto server = round_trip(ServerSet{"memory", ServerMode::session, 1, 2, 3, 4});
  EXPECT_EQ(server.mode, ServerMode::session);
  EXPECT_EQ(server.max_sessions, 1U);
  EXPECT_EQ(server.max_requests, 2U);
  EXPECT_EQ(server.request_timeout_ms, 3U);
  EXPECT_EQ(server.idle_timeout_ms, 4U);
  ServerSet ruled{"memory"};
  ruled.tools = {"here", std::vector<std::string>{"a*"}, {{"x", {{"/p", "5"}}}}};
  ruled.audit = Audit::arguments;
  ruled.configuration = "0123";
  const auto rules = round_trip(ruled);
  EXPECT_EQ(policy::to_text(rules.tools), policy::to_text(ruled.tools));
  EXPECT_EQ(rules.audit, Audit::arguments);
  EXPECT_EQ(rules.configuration, "0123");
  WorkerAdd restricted{{"ab"}, 1, {}, {}, ""};
  restricted.tools.push_back({"mem*", ruled.tools});
  const auto tools = round_trip(std::move(restricted)).tools;
  ASSERT_EQ(tools.size(), 1U);
  EXPECT_EQ(tools[0].server, "mem*");
  EXPECT_EQ(policy::to_text(tools[0].rules), policy::to_text(ruled.tools));
  EXPECT_EQ(round_trip(ServerRemove{"memory"}).name, "memory");

  const auto attach = round_trip(InstanceAttach{"m", {UINT64_MAX}, SessionId{"s"}, some_fd(), some_fd()});
  EXPECT_EQ(attach.instance.value, UINT64_MAX);
  EXPECT_EQ(attach.session, SessionId{"s"});
  EXPECT_TRUE(attach.to_server && attach.from_server);
  EXPECT_EQ(round_trip(InstanceGone{"m", {7}, "exited"}).reason, "exited");
  EXPECT_EQ(round_trip(ServerUnavailable{"m", {}, "why", 50}).retry_in_ms, 50U);
  EXPECT_FALSE(round_trip(ServerUnavailable{"m", SessionId{"x"}, "why", {}}).retry_in_ms);
  const auto call = round_trip(Call{9, "m", "tools/list", "{}"});
  EXPECT_EQ(call.method, "tools/list");
  EXPECT_EQ(call.params, "{}");
  const auto trace = round_trip(Trace{7, "m", 1234, false, "w", true, some_fd()});
  EXPECT_EQ(trace.id, 7U);
  EXPECT_EQ(trace.server, "m");
  EXPECT_EQ(trace.owner, 1234U);
  EXPECT_FALSE(trace.all);
  EXPECT_EQ(trace.worker, "w");
  EXPECT_TRUE(trace.payloads);
  EXPECT_TRUE(trace.pipe);
  EXPECT_TRUE(round_trip(Trace{7, "m", 0, true, "", false, some_fd()}).all);
}

TEST(LinkCodec, carries_every_message_to_the_daemon) {
  const auto hello = round_trip_up(
      GatewayHello{protocol_version, {{"a"}, {"b"}}, {{"m", {3}}, {"m", {4}, SessionId{"s"}}}, {"4:1", "4:2"}});
  EXPECT_EQ(hello.http_networks, (std::vector<std::string>{"4:1", "4:2"}));
  ASSERT_EQ(hello.workers.size(), 2U);
  ASSERT_EQ(hello.instances.size(), 2U);
  EXPECT_EQ(hello.instances[0].instance.value, 3U);
  EXPECT_FALSE(hello.instances[0].session);
  EXPECT_EQ(hello.instances[1].session, SessionId{"s"});
  EXPECT_EQ(round_trip_up(InstanceRequest{"m", SessionId{"s"}}).session, SessionId{"s"});
  EXPECT_EQ(round_trip_up(InstanceRelease{"m", {3}}).instance.value, 3U);
  ServerReport sent{"m", {1, 2, 3, 4, 5, 6, {}}, {{"0123", "w", 1000, {}}}, "2025-11-25", "{\"name\":\"x\"}", 4};
  sent.traffic.latency.add(std::chrono::microseconds(15));
  sent.traffic.latency.add(std::chrono::hours(1));
  sent.sessions[0].traffic.latency.add(std::chrono::microseconds(16));
  sent.sessions[0].traffic.calls = 9;
  const auto report = round_trip_up(sent);
  EXPECT_EQ(report.traffic.requests, 1U);
  EXPECT_EQ(report.traffic.errors, 2U);
  EXPECT_EQ(report.traffic.calls, 3U);
  EXPECT_EQ(report.traffic.refused, 4U);
  EXPECT_EQ(report.traffic.received_bytes, 5U);
  EXPECT_EQ(report.traffic.sent_bytes, 6U);
  EXPECT_EQ(report.traffic.latency.counts[0], 1U);
  EXPECT_EQ(report.traffic.latency.counts[Latency::buckets - 1], 1U);
  ASSERT_EQ(report.sessions.size(), 1U);
  EXPECT_EQ(report.sessions[0].worker, "w");
  EXPECT_EQ(report.sessions[0].owner, 1000U);
  EXPECT_EQ(report.sessions[0].traffic.calls, 9U);
  EXPECT_EQ(report.sessions[0].traffic.latency.counts[1], 1U);
  EXPECT_EQ(report.server_info, "{\"name\":\"x\"}");
  EXPECT_EQ(round_trip_up(WorkerReport{{"w"}, 1, 2}).last_activity_usec, 2U);
  EXPECT_EQ(*round_trip_up(CallResult{1, std::string("{}")}).result, "{}");
  const auto error = round_trip_up(CallResult{1, Error{Errc::timed_out, "late"}});
  EXPECT_EQ(error.result.error().code, Errc::timed_out);
  EXPECT_EQ(error.result.error().message, "late");
}

TEST(LinkCodec, carries_a_result_larger_than_a_datagram) {
  const std::string large(std::size_t{8} << 20, '"');
  EXPECT_EQ(*round_trip_up(CallResult{1, large}).result, large);
}

TEST(LinkCodec, sends_nothing_that_the_other_end_would_not_take) {
  const auto largest = encode(ToGateway{Call{1, "m", "x", std::string(max_call_bytes, '"')}});
  ASSERT_TRUE(largest.has_value()) << largest.error().message;
  // Six bytes each in the message.
  const auto larger = encode(ToGateway{Call{1, "m", "x", std::string(max_call_bytes, '\x01')}});
  ASSERT_FALSE(larger.has_value());
  EXPECT_EQ(larger.error().code, Errc::limit);
}

TEST(LinkCodec, refuses_what_is_not_exactly_a_message) {
  const char* bad[] = {
      "",
      "x",
      "[]",
      "{}",
      "@",
      R"({"kind":"nonsense"})",
      R"({"kind":"worker_remove"})",
      R"({"kind":"worker_remove","id":5})",
      R"({"kind":"worker_remove","id":"../etc"})",
      R"({"kind":"worker_remove","id":"a","more":1})",
      R"({"kind":"worker_add","id":"a","owner":4294967296,"servers":[],"token":"","tools":[]})",
      R"({"kind":"worker_add","id":"a","owner":1,"servers":[1],"token":"","tools":[]})",
      R"({"kind":"http_listen","network":"1:2"})",
      R"({"kind":"server_set","name":"a","mode":"x","max_sessions":0,"max_requests":0,"request_timeout_ms":0,"idle_timeout_ms":0,"tools":"{\"origin\":\"\",\"rules\":{}}","audit":"hash","configuration":""})",
      R"({"kind":"server_set","name":"a","mode":"shared","max_sessions":0,"max_requests":0,"request_timeout_ms":0,"idle_timeout_ms":0,"tools":"{}","audit":"hash","configuration":""})",
      R"({"kind":"server_set","name":"a","mode":"shared","max_sessions":0,"max_requests":0,"request_timeout_ms":0,"idle_timeout_ms":0,"tools":"{\"origin\":\"\",\"rules\":{}}","audit":"x","configuration":""})",
      R"({"kind":"server_set","name":"a","mode":"shared","max_sessions":0,"max_requests":0,"request_timeout_ms":0})",
      R"({"kind":"instance_attach","server":"a","instance":1})",
      R"({"kind":"trace","id":1,"server":"a","owner":1,"all":true,"worker":"","payloads":false})",
      R"({"kind":"trace","id":1,"server":"a","owner":1,"worker":"","payloads":false})",
      R"({"kind":"trace","id":1,"server":"a","owner":1,"all":1,"worker":"","payloads":false})",
      R"({"kind":"instance_gone","server":"a","instance":-1,"reason":""})",
  };
  for (const auto* text : bad) {
    const auto decoded = decode_to_gateway({text, {}});
    ASSERT_FALSE(decoded.has_value()) << text;
    EXPECT_EQ(decoded.error().code, Errc::protocol) << text;
  }
  std::vector<UniqueFd> fds;
  fds.push_back(some_fd());
  EXPECT_FALSE(decode_to_gateway({R"({"kind":"worker_remove","id":"a"})", std::move(fds)}).has_value());
}

TEST(LinkCodec, refuses_a_memory_file_that_may_still_change) {
  char path[] = "/tmp/hal-link-XXXXXX";
  UniqueFd file(::mkstemp(path));
  ::unlink(path);
  EXPECT_EQ(from_memory_file(file, 100).error().code, Errc::protocol);
  const auto sealed = to_memory_file("0123456789");
  ASSERT_TRUE(sealed.has_value());
  EXPECT_EQ(*from_memory_file(*sealed, 10), "0123456789");
  EXPECT_EQ(from_memory_file(*sealed, 9).error().code, Errc::limit);
}

struct FakeDaemon : DaemonEndListener {
  std::vector<std::string> events;
  void on_hello(const GatewayHello& hello) override {
    events.push_back("hello " + std::to_string(hello.workers.size()));
  }
  void on_instance_request(const InstanceRequest& request) override { events.push_back("request " + request.server); }
  void on_instance_release(const InstanceRelease&) override { events.emplace_back("release"); }
  void on_server_report(const ServerReport&) override { events.emplace_back("server"); }
  void on_worker_report(const WorkerReport&) override { events.emplace_back("worker"); }
  void on_call_result(const CallResult&) override { events.emplace_back("result"); }
  void on_link_closed(const Error& error) override { events.push_back("closed " + std::string(name(error.code))); }
};

struct FakeGateway : GatewayEndListener {
  std::vector<std::string> events;
  void on_http_listen(HttpListen) override {}
  void on_http_close(const HttpClose&) override {}
  void on_worker_add(WorkerAdd message) override {
    events.push_back(message.listener ? "worker_add with fd" : "worker_add");
  }
  void on_worker_remove(const WorkerRemove&) override { events.emplace_back("worker_remove"); }
  void on_server_set(const ServerSet&) override { events.emplace_back("server_set"); }
  void on_server_remove(const ServerRemove&) override { events.emplace_back("server_remove"); }
  void on_instance_attach(InstanceAttach) override { events.emplace_back("attach"); }
  void on_instance_gone(const InstanceGone&) override { events.emplace_back("gone"); }
  void on_server_unavailable(const ServerUnavailable&) override { events.emplace_back("unavailable"); }
  void on_call(const Call&) override { events.emplace_back("call"); }
  void on_trace(Trace) override { events.emplace_back("trace"); }
  void on_hello() override { events.emplace_back("hello"); }
  void on_link_closed(const Error& error) override { events.push_back("closed " + std::string(name(error.code))); }
};

struct LinkEnds : testing::Test {
  event::Loop loop;
  FakeDaemon daemon;
  FakeGateway gateway;
  io::SocketPair pair = std::move(*io::socket_pair(SOCK_SEQPACKET));

  bool run_until(const std::function<bool()>& done) {
    for (int turns = 0; turns < 200 && !done(); ++turns) {
      loop.run_once(std::chrono::milliseconds(50));
    }
    return done();
  }
};

TEST_F(LinkEnds, greet_and_talk_both_ways) {
  DaemonEnd daemon_end(loop, std::move(pair.ours), daemon);
  GatewayEnd gateway_end(loop, std::move(pair.theirs), GatewayHello{protocol_version, {{"w"}}, {}}, gateway);
  ASSERT_TRUE(run_until([&] { return !daemon.events.empty() && !gateway.events.empty(); }));
  EXPECT_EQ(daemon.events, std::vector<std::string>{"hello 1"});
  EXPECT_EQ(gateway.events, std::vector<std::string>{"hello"});
  ASSERT_TRUE(daemon_end.send(WorkerAdd{{"w"}, 0, {}, some_fd()}).has_value());
  ASSERT_TRUE(gateway_end.send(InstanceRequest{"m", {}}).has_value());
  ASSERT_TRUE(run_until([&] { return daemon.events.size() == 2 && gateway.events.size() == 2; }));
  EXPECT_EQ(daemon.events[1], "request m");
  EXPECT_EQ(gateway.events[1], "worker_add with fd");
}

TEST_F(LinkEnds, tell_when_the_other_is_gone) {
  auto daemon_end = std::make_unique<DaemonEnd>(loop, std::move(pair.ours), daemon);
  GatewayEnd gateway_end(loop, std::move(pair.theirs), {}, gateway);
  ASSERT_TRUE(run_until([&] { return gateway.events.size() == 1; }));
  daemon_end.reset();
  ASSERT_TRUE(run_until([&] { return gateway.events.size() == 2; }));
  EXPECT_EQ(gateway.events[1], "closed disconnected");
  EXPECT_EQ(gateway_end.send(InstanceRequest{"m", {}}).error().code, Errc::disconnected);
}

TEST_F(LinkEnds, close_on_what_they_do_not_understand) {
  DaemonEnd daemon_end(loop, std::move(pair.ours), daemon);
  ASSERT_TRUE(io::send_message(pair.theirs.get(), R"({"kind":"instance_request","server":"m"})").has_value());
  ASSERT_TRUE(run_until([&] { return !daemon.events.empty(); }));
  EXPECT_EQ(daemon.events, std::vector<std::string>{"closed protocol"});  // hello must come first
}

TEST_F(LinkEnds, refuse_another_version) {
  GatewayEnd gateway_end(loop, std::move(pair.ours), {}, gateway);
  ASSERT_TRUE(io::send_message(pair.theirs.get(), R"({"kind":"hello","version":99})").has_value());
  ASSERT_TRUE(run_until([&] { return !gateway.events.empty(); }));
  EXPECT_EQ(gateway.events, std::vector<std::string>{"closed protocol"});
}

}  // namespace
}  // namespace hal::link
