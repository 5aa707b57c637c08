#include "gateway_support.hpp"
#include "http_support.hpp"

/** The real gateway with real servers, all of them together: the test plays hal9000d, the clients are real too. */
namespace hal::hub::test {
namespace {

class AllServers : public RealServers {
 public:
  void start_all() {
    serve("everything", program("mcp-server-everything"));
    serve("thinking", program("mcp-server-sequential-thinking"), link::ServerMode::session);
    auto memory = program("mcp-server-memory-bank");
    memory.insert(memory.begin(), {"env", "MEMORY_BANK_ROOT=" + folder.path()});
    serve("memory", std::move(memory));
    start();
    daemon.send(link::HttpListen{"net:1", http::test::listen_tcp(port)});
  }

  /** What the official client says of it, which ends with 0 when all is well. */
  void run_client(const std::string& transport, const std::string& path) {
    UniqueFd said(::memfd_create("client's words", MFD_CLOEXEC));
    process::SpawnSpec spec;
    spec.argv = {"node", environment("HAL9000_TEST_SDK_CLIENT"), transport,
                 "http://127.0.0.1:" + std::to_string(port) + path, "a.secret"};
    spec.env = {"PATH=" + environment("PATH"), "HOME=/tmp", "HAL9000_TEST_NODE=" + servers};
    spec.fds = {{1, said.get()}, {2, said.get()}};
    const auto pid = process::spawn(spec);
    ASSERT_TRUE(pid.has_value()) << pid.error().message;
    std::optional<process::ExitStatus> status;
    process::Child client(loop, *pid, "client", [&](const process::ExitStatus& end) { status = end; });
    EXPECT_TRUE(run_until(
        loop, [&] { return status.has_value(); }, 120s));
    char text[16384] = "";
    (void)::pread(said.get(), text, sizeof text - 1, 0);
    EXPECT_TRUE(status && status->code == 0) << text;
  }

  std::uint16_t port = 0;
};

TEST_F(AllServers, serve_the_official_client_over_streamable_http) {
  start_all();
  run_client("http", "/mcp");
  EXPECT_EQ(daemon.started, 3U);
}

TEST_F(AllServers, serve_the_official_client_over_the_old_transport) {
  start_all();
  run_client("sse", "/sse");
  EXPECT_EQ(daemon.started, 3U);
  EXPECT_TRUE(run_until(loop, [&] { return daemon.gone.size() == 1; }));  // the session's own process went with it
}

/** What Claude Code 2.1 sends first, byte for byte. */
TEST_F(AllServers, serve_claude_code_by_the_relays_socket) {
  start_all();
  RelayPeer claude(loop, std::move(*io::connect_unix(folder / "a.sock", SOCK_STREAM)));
  claude.send_raw(R"({"hal9000":1,"server":"*"})");
  EXPECT_TRUE(claude.next().contains("session"));
  claude.send_raw(
      R"({"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"elicitation":{}},"clientInfo":{"name":"claude-code","title":"Claude Code","version":"2.1.197","websiteUrl":"https://claude.com/claude-code"}},"jsonrpc":"2.0","id":0})");
  const auto hello = claude.next();
  EXPECT_EQ(hello["id"], 0);
  EXPECT_EQ(hello["result"]["protocolVersion"], "2025-11-25");
  EXPECT_EQ(daemon.started, 0U);
  claude.send_raw(R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
  for (const auto* line :
       {R"({"method":"tools/list","jsonrpc":"2.0","id":1})", R"({"method":"prompts/list","jsonrpc":"2.0","id":2})",
        R"({"method":"resources/list","jsonrpc":"2.0","id":3})"}) {
    claude.send_raw(line);
  }
  std::map<int, Json> answers;
  while (answers.size() < 3) {
    const auto message = claude.next();
    if (message.contains("method") && message.contains("id")) {
      claude.send({{"jsonrpc", "2.0"}, {"id", message["id"]}, {"result", {{"roots", Json::array()}}}});
    } else if (message.contains("id")) {
      answers[message["id"].get<int>()] = message["result"];
    } else if (message.empty()) {
      break;
    }
  }
  std::set<std::string> prefixes;
  for (const auto& one : answers[1]["tools"]) {
    const auto name = one["name"].get<std::string>();
    prefixes.insert(name.substr(0, name.find("__")));
  }
  EXPECT_EQ(prefixes, (std::set<std::string>{"everything", "memory", "thinking"}));
  EXPECT_FALSE(answers[2]["prompts"].empty());
  EXPECT_FALSE(answers[3]["resources"].empty());
  claude.send(tool(4, "everything__echo", {{"message", "hello"}}));
  EXPECT_NE(answer_to(claude, 4).dump().find("hello"), std::string::npos);
}

}  // namespace
}  // namespace hal::hub::test
