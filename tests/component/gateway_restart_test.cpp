#include "gateway_support.hpp"
#include "link/parcel.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/un.h>

namespace hal::hub::test {
namespace {

/** What PID 1 does for a unit: keeps what it is given, and passes it to the next process. */
class Manager {
 public:
  Manager(event::Loop& loop, std::string where)
      : path(std::move(where)),
        socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
        source_(loop, socket_.get(), EPOLLIN, "notify", [this](std::uint32_t) { take(); }) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }

  std::string path;
  /** Its name is what a gateway must have called it. */
  UniqueFd kept;
  int removed = 0;
  bool ready = false;

 private:
  void take() {
    char text[4096] = "";
    iovec vector{text, sizeof text - 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    if (::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC) <= 0) {
      return;
    }
    UniqueFd fd;  // a barrier ends when it is closed
    if (const auto* part = CMSG_FIRSTHDR(&header); part != nullptr) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(part), sizeof number);
      fd = UniqueFd(number);
    }
    const std::string message(text);
    if (message == "FDSTORE=1\nFDNAME=hal9000-state\nFDPOLL=0") {
      kept = std::move(fd);
    }
    removed += message == "FDSTOREREMOVE=1\nFDNAME=hal9000-state" ? 1 : 0;
    ready = ready || message.starts_with("READY=1");
  }

  UniqueFd socket_;
  event::Io source_;
};

/** A gateway as its unit starts it. */
class RestartedUnit : public Gateway {
 public:
  RestartedUnit() { listener = std::move(*io::listen_unix(folder / "link.sock", SOCK_SEQPACKET, 0666)); }

  void launch() {
    process::SpawnSpec spec;
    spec.argv = {"sh", "-c", "LISTEN_PID=$$ exec " + environment("HAL9000_GATEWAY")};
    spec.env = {"PATH=" + environment("PATH"), "NOTIFY_SOCKET=" + manager.path};
    spec.fds = {{2, quiet.get()}, {3, listener.get()}};
    if (manager.kept) {
      spec.fds.emplace_back(4, manager.kept.get());
      spec.env.insert(spec.env.end(), {"LISTEN_FDS=2", "LISTEN_FDNAMES=hal9000-gateway.socket:hal9000-state"});
    } else {
      spec.env.insert(spec.env.end(), {"LISTEN_FDS=1", "LISTEN_FDNAMES=hal9000-gateway.socket"});
    }
    const auto pid = process::spawn(spec);
    ASSERT_TRUE(pid.has_value()) << pid.error().message;
    gateway = std::make_unique<process::Child>(loop, *pid, "gateway",
                                               [this](const process::ExitStatus& status) { exit = status; });
    manager.kept.reset();
    manager.ready = false;
    exit.reset();
    daemon.hello.reset();
    daemon.closed = false;
    daemon.connect(std::move(*io::connect_unix(folder / "link.sock", SOCK_SEQPACKET)));
    ASSERT_TRUE(run_until(loop, [&] { return daemon.hello.has_value() && manager.ready; }));
  }

  void end_gateway() {
    gateway->kill_group(SIGTERM);
    ASSERT_TRUE(run_until(loop, [&] { return exit.has_value(); }));
    ASSERT_EQ(exit->describe(), "exited with code 0")
        << hal::test::read_file("/proc/self/fd/" + std::to_string(quiet.get()));
    daemon.end.reset();
    daemon.closed = true;
  }

  /** As `systemctl restart` does it. */
  void restart() {
    end_gateway();
    ASSERT_TRUE(manager.kept);
    launch();
  }

  void start_unit() {
    launch();
    add_worker("a");
    add_worker("b");
  }

  /** The gateway has handed on so many requests of clients, initialize included. */
  void expect_handed_on(std::uint64_t requests) {
    EXPECT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].traffic.requests >= requests; }));
  }

  UniqueFd listener;
  Manager manager{loop, folder / "notify"};
};

/** In both modes, with a real process. */
class Restart : public RestartedUnit, public testing::WithParamInterface<link::ServerMode> {
 public:
  Restart() { serve_fake({}, GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Modes, Restart, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

TEST_P(Restart, a_call_in_flight_is_answered_by_the_next_gateway) {
  start_unit();
  auto a = client("a", "fake");
  auto call = tool("mine", "wait");
  a->send(call);
  expect_handed_on(2);
  const auto traffic = daemon.reports["fake"].traffic;
  restart();
  ASSERT_EQ(daemon.hello->instances.size(), 1U);
  EXPECT_EQ(daemon.hello->workers.size(), 2U);
  a->send(tool(2, "release"));
  EXPECT_EQ(a->next()["id"], "mine");
  EXPECT_EQ(a->next()["id"], 2);
  EXPECT_EQ(daemon.started, 1U) << "the process is the same";
  EXPECT_EQ(received("initialize").size(), 1U);
  EXPECT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].traffic.requests > traffic.requests; }));
  EXPECT_EQ(daemon.reports["fake"].sessions.size(), 1U);
  // New sessions come by the same socket, and an id that is in flight is still one.
  a->send(call);
  a->send(call);
  EXPECT_EQ(a->next()["error"]["message"], "a request with this id is in flight");
  auto b = client("b", "fake");
  EXPECT_EQ(b->ask(1, "tools/list")["id"], 1);
}

TEST_P(Restart, a_line_of_1_mib_goes_on_where_it_was) {
  start_unit();
  auto a = client("a", "fake");
  a->send(tool(1, "begin", {{"bytes", 1 << 20}}));
  expect_handed_on(2);
  restart();
  a->send(tool(2, "release"));
  EXPECT_EQ(a->next()["result"]["content"][0]["text"].get<std::string>().size(), std::size_t{1} << 20);
  EXPECT_EQ(a->next()["id"], 2);

  // The other way: the client has said the half of it.
  auto raw = std::move(*io::connect_unix(folder / "a.sock", SOCK_STREAM));
  const auto ours = raw.duplicate();
  RelayPeer peer(loop, std::move(raw));
  peer.initialize("fake");
  EXPECT_TRUE(peer.next().contains("result"));
  peer.notify("notifications/initialized");
  EXPECT_EQ(peer.ask(1, "tools/list")["id"], 1);
  const auto line = tool(2, "echo", {{"text", std::string(1 << 20, 'y')}}).dump() + "\n";
  std::string_view left(line);
  const auto say = [&](std::size_t end) {
    pollfd room{ours.get(), POLLOUT, 0};
    while (left.size() > end && ::poll(&room, 1, static_cast<int>(hal::test::scaled(10s).count())) == 1) {
      const auto bytes = ::send(ours.get(), left.data(), left.size() - end, MSG_DONTWAIT);
      left.remove_prefix(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    }
    return left.size() == end;
  };
  ASSERT_TRUE(say(line.size() / 2));
  restart();
  ASSERT_TRUE(say(0));
  EXPECT_GT(peer.next()["result"]["content"][0]["text"].get<std::string>().size(), std::size_t{1} << 20);
}

TEST_P(Restart, what_a_slow_client_has_not_read_waits_for_it) {
  start_unit();
  auto a = client("a", "fake");
  a->pause();
  for (int i = 1; i <= 8; ++i) {
    a->send(tool(i, "huge", {{"bytes", (1 << 20) + i}}));
  }
  expect_handed_on(2);
  restart();
  restart();
  a->resume();
  for (int i = 1; i <= 8; ++i) {
    const auto answer = a->next();
    EXPECT_EQ(answer["id"], i);
    EXPECT_EQ(answer["result"]["content"][0]["text"].get<std::string>().size(),
              (std::size_t{1} << 20) + static_cast<std::size_t>(i));
  }
  EXPECT_EQ(a->ask(9, "tools/list")["id"], 9);
}

TEST_P(Restart, questions_progress_and_subscriptions_are_still_somebodys) {
  start_unit();
  auto a = client("a", "fake", {{"elicitation", Json::object()}});
  EXPECT_TRUE(a->ask("s", "resources/subscribe", {{"uri", "file:///x"}}).contains("result"));
  a->send(tool("call", "elicit"));
  const auto question = a->next();
  ASSERT_EQ(question["method"], "elicitation/create");
  restart();
  a->send({{"jsonrpc", "2.0"}, {"id", question["id"]}, {"result", {{"action", "decline"}}}});
  const auto answer = a->next();
  EXPECT_EQ(answer["id"], "call");
  EXPECT_EQ(answer["result"]["content"][0]["text"], R"({"action": "decline"})");
  a->send(tool("n", "notify", {{"method", "notifications/resources/updated"}, {"params", {{"uri", "file:///x"}}}}));
  EXPECT_EQ(a->next()["method"], "notifications/resources/updated");
  EXPECT_EQ(a->next()["id"], "n");
  auto waiting = tool("p", "wait");
  waiting["params"]["_meta"] = {{"progressToken", "token"}};
  a->send(waiting);
  expect_handed_on(5);
  const auto calls = received("tools/call");
  restart();
  a->send(tool("q", "notify",
               {{"method", "notifications/progress"},
                {"params", {{"progressToken", calls.back()["params"]["_meta"]["progressToken"]}, {"progress", 1}}}}));
  EXPECT_EQ(a->next()["params"]["progressToken"], "token");
  EXPECT_EQ(a->next()["id"], "q");
}

/** Each client asks on as soon as it is answered; each answer is due once. */
TEST_P(Restart, ten_in_a_row_lose_and_repeat_nothing) {
  start_unit();
  constexpr int clients = 6;
  constexpr int at_once = 8;
  struct Asking {
    std::unique_ptr<RelayPeer> peer;
    int asked = 0;
    int answered = 0;
    std::set<int> open;
  };
  std::vector<Asking> all(clients);
  bool asks = true;
  const auto ask = [&](Asking& one) {
    one.open.insert(++one.asked);
    one.peer->send(tool(one.asked, "echo", {{"n", one.asked}}));
  };
  const auto take = [&] {
    for (auto& one : all) {
      for (; !one.peer->lines.empty(); one.peer->lines.pop_front()) {
        const auto answer = Json::parse(one.peer->lines.front());
        ASSERT_TRUE(answer.contains("result")) << answer;
        ASSERT_EQ(one.open.erase(answer["id"].get<int>()), 1U) << answer;
        ASSERT_EQ(answer["result"]["content"][0]["text"], "{\"n\": " + answer["id"].dump() + "}");
        ++one.answered;
        if (asks) {
          ask(one);
        }
      }
    }
  };
  for (int i = 0; i < clients; ++i) {
    all[static_cast<std::size_t>(i)].peer = client(i % 2 == 0 ? "a" : "b", "fake");
    for (int n = 0; n < at_once; ++n) {
      ask(all[static_cast<std::size_t>(i)]);
    }
  }
  for (int round = 0; round < 10; ++round) {
    const auto before = all.front().answered;
    ASSERT_TRUE(run_until(loop, [&] {
      take();
      return all.front().answered > before + 10 || HasFatalFailure();
    }));
    restart();
    ASSERT_FALSE(HasFatalFailure());
  }
  asks = false;
  EXPECT_TRUE(run_until(loop, [&] {
    take();
    return HasFatalFailure() || std::all_of(all.begin(), all.end(), [](const auto& one) { return one.open.empty(); });
  }));
  EXPECT_EQ(daemon.started, GetParam() == link::ServerMode::shared ? 1U : 6U);
  EXPECT_EQ(manager.removed, 10);
  for (const auto& one : all) {
    EXPECT_FALSE(one.peer->closed);
    EXPECT_EQ(one.answered, one.asked);
  }
}

TEST_F(RestartedUnit, a_stop_closes_everything) {
  serve_fake();
  start_unit();
  auto a = client("a", "fake");
  a->send(tool(1, "wait"));
  expect_handed_on(2);
  end_gateway();
  ASSERT_TRUE(manager.kept);
  EXPECT_FALSE(a->closed);
  EXPECT_TRUE(daemon.gone.empty());
  manager.kept.reset();
  EXPECT_TRUE(run_until(loop, [&] { return a->closed && daemon.gone.size() == 1; }));
  EXPECT_TRUE(a->lines.empty());
}

TEST_F(RestartedUnit, what_cannot_be_read_is_thrown_away) {
  serve_fake();
  start_unit();
  auto a = client("a", "fake");
  end_gateway();
  auto parcel = link::unpack(std::move(manager.kept));
  ASSERT_TRUE(parcel.has_value());
  std::vector<int> numbers;
  for (const auto& fd : parcel->descriptors) {
    numbers.push_back(fd.get());
  }
  const auto& whole = parcel->text;
  auto other_version = whole;
  ++other_version[sizeof(std::uint64_t) + std::string_view("hal9000-gateway").size()];
  for (const auto& text : {other_version, whole.substr(0, whole.size() - 1), whole + "x", std::string()}) {
    auto packed = link::pack(text, numbers);
    ASSERT_TRUE(packed.has_value());
    manager.kept = std::move(*packed);
    launch();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_TRUE(daemon.hello->workers.empty());
    EXPECT_TRUE(daemon.hello->instances.empty());
    end_gateway();
  }
}

TEST_F(RestartedUnit, sessions_that_cannot_go_over_end_and_leave_nothing_at_the_servers) {
  serve_fake();
  start_unit();
  auto kept = client("a", "fake");
  auto all = client("b", "*");
  all->send(tool("open", "fake__wait"));
  expect_handed_on(3);
  restart();
  const auto answer = all->next();
  EXPECT_EQ(answer["id"], "open");
  EXPECT_TRUE(answer.contains("error")) << answer;
  EXPECT_TRUE(run_until(loop, [&] { return all->closed; }));
  EXPECT_EQ(kept->ask(1, "tools/list")["id"], 1);
  EXPECT_EQ(received("notifications/cancelled").size(), 1U);
  EXPECT_TRUE(run_until(loop, [&] { return daemon.reports["fake"].sessions.size() == 1; }));
  EXPECT_EQ(daemon.started, 1U);
}

TEST_F(RestartedUnit, who_connects_meanwhile_is_served_by_the_next_one) {
  serve_fake();
  start_unit();
  auto kept = client("a", "fake");
  end_gateway();
  RelayPeer late(loop, std::move(*io::connect_unix(folder / "a.sock", SOCK_STREAM)));
  late.send({{"hal9000", 1}, {"server", "fake"}});
  kept->send(request(1, "tools/list"));
  launch();
  EXPECT_TRUE(late.next().contains("session"));
  EXPECT_EQ(kept->next()["id"], 1);
}

class RealRestart : public RestartedUnit {
 public:
  static void SetUpTestSuite() { RealServers::SetUpTestSuite(); }
};

TEST_F(RealRestart, real_servers_keep_their_train_of_thought) {
  if (RealServers::servers.empty()) {
    GTEST_SKIP() << "the npm registry is not reachable";
  }
  serve("thinking", RealServers::program("mcp-server-sequential-thinking"), link::ServerMode::session);
  serve("everything", RealServers::program("mcp-server-everything"));
  start_unit();
  auto a = client("a", "thinking");
  auto b = client("b", "everything");
  const auto think = [&](int number) {
    a->send(tool(number, "sequentialthinking",
                 {{"thought", "t"}, {"thoughtNumber", number}, {"totalThoughts", 3}, {"nextThoughtNeeded", true}}));
    const auto result = answer_to(*a, number)["result"];
    return Json::parse(result["content"][0]["text"].get<std::string>())["thoughtHistoryLength"];
  };
  EXPECT_EQ(think(1), 1);
  auto operation = tool("long", "trigger-long-running-operation", {{"duration", 2}, {"steps", 4}});
  operation["params"]["_meta"] = {{"progressToken", "mine"}};
  b->send(operation);
  std::size_t steps = 0;
  const auto until = [&](const std::function<bool(const Json&)>& last) {
    for (;;) {
      const auto message = b->next();
      if (message.value("method", "") == "notifications/progress") {
        EXPECT_EQ(message["params"]["progressToken"], "mine");
        ++steps;
      }
      if (message.empty() || last(message)) {
        return message;
      }
    }
  };
  until([&](const Json&) { return steps == 1; });
  restart();
  EXPECT_EQ(think(2), 2);
  EXPECT_TRUE(until([](const Json& message) { return message.value("id", "") == "long"; }).contains("result"));
  EXPECT_EQ(steps, 4U);
  EXPECT_EQ(daemon.started, 2U);
}

}  // namespace
}  // namespace hal::hub::test
