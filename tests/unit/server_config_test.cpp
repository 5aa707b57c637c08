#include "server/config.hpp"
#include "server/expand.hpp"
#include "server/remote_settings.hpp"
#include "server/units.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace hal::server {
namespace {

const ConfigOptions options{"/var/lib/hal9000/server",
                            {{"LIBEXEC", "/usr/libexec"}, {"EMPTY", ""}},
                            "/usr/libexec/hal9000/hal9000-remote",
                            "/run/credentials/hal9000.service"};

Result<ServerConfigs> parse(std::string_view server_members) {
  return parse_servers(R"({"mcpServers":{"one":{)" + std::string(server_members) + "}}}", "mcp.json", options);
}

std::string error_of(std::string_view server_members) {
  const auto result = parse(server_members);
  return result ? "no error" : result.error().message;
}

TEST(ServerConfig, reads_a_server_as_claude_code_writes_it) {
  const auto result = parse(R"("type":"stdio","command":"node","args":["a b","$HOME"],"env":{"A":"1"},"cwd":"/srv")");
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->servers.size(), 1U);
  const auto& server = result->servers[0];
  EXPECT_EQ(server.name, "one");
  EXPECT_EQ(server.argv, (std::vector<std::string>{"node", "a b", "$HOME"}));
  EXPECT_EQ(server.env, (std::map<std::string, std::string>{{"A", "1"}}));
  EXPECT_EQ(server.cwd, "/srv");
  EXPECT_EQ(server.state_directory, "/var/lib/hal9000/server/one");
  EXPECT_EQ(server.mode, Mode::shared);
  EXPECT_EQ(server.network, Network::host);
  EXPECT_TRUE(result->notes.empty());
}

TEST(ServerConfig, reads_a_remote_server_in_the_spelling_of_any_client) {
  using Transport = RemoteServer::Transport;
  for (const auto& [members, transport] :
       {std::pair{R"("type":"http","url":"https://x.org/m")", Transport::http},
        std::pair{R"("url":"https://x.org/m")", Transport::http},
        std::pair{R"("httpUrl":"https://x.org/m")", Transport::http},
        std::pair{R"("serverUrl":"https://x.org/m")", Transport::http},
        std::pair{R"("type":"streamable-http","url":"https://x.org/m")", Transport::http},
        std::pair{R"("type":"streamableHttp","url":"https://x.org/m")", Transport::http},
        std::pair{R"("type":"sse","serverUrl":"https://x.org/m")", Transport::sse}}) {
    const auto result = parse(members);
    ASSERT_TRUE(result) << result.error().message;
    const auto& server = result->servers[0];
    ASSERT_TRUE(server.remote) << members;
    EXPECT_EQ(server.remote->url, "https://x.org/m");
    EXPECT_EQ(server.remote->transport, transport) << members;
    EXPECT_EQ(server.argv, (std::vector<std::string>{"/usr/libexec/hal9000/hal9000-remote", "one"}));
    EXPECT_EQ(server.network, Network::host);
    EXPECT_TRUE(result->notes.empty()) << result->notes[0];
  }
}

TEST(ServerConfig, a_remote_server_has_headers_a_timeout_and_perhaps_a_proxy) {
  const auto good = parse(R"("type":"http","url":"https://${HOST:-x.org}/","timeout":5000,
    "headers":{"Authorization":"Bearer credential:x","X-A":"${EMPTY:-a}"},"hal9000":{"proxy":"http://p:3128"})");
  ASSERT_TRUE(good) << good.error().message;
  const auto& remote = *good->servers[0].remote;
  EXPECT_EQ(remote.url, "https://x.org/");
  EXPECT_EQ(remote.timeout, std::chrono::seconds(5));
  EXPECT_EQ(remote.headers.at("Authorization"), "Bearer credential:x");
  EXPECT_EQ(remote.headers.at("X-A"), "a");
  EXPECT_EQ(remote.proxy, "http://p:3128");
  EXPECT_NE(fingerprint(good->servers[0]), fingerprint(parse(R"("type":"http","url":"https://x.org/")")->servers[0]));
}

TEST(ServerConfig, notes_what_a_remote_server_cannot_use_and_what_it_shows) {
  const auto result = parse(R"("url":"http://x.org/","headers":{"A":"b"},"args":["c"])");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->notes, (std::vector<std::string>{
                               "mcp.json: mcpServers.one.url: headers go over the network unencrypted; https:// would "
                               "protect them",
                               "mcp.json: mcpServers.one.args has no effect"}));
  EXPECT_TRUE(parse(R"("url":"http://127.0.0.1:80/","headers":{"A":"b"})")->notes.empty());
  EXPECT_TRUE(parse(R"("url":"http://localhost","headers":{"A":"b"})")->notes.empty());
  EXPECT_FALSE(parse(R"("url":"http://localhost.evil.org","headers":{"A":"b"})")->notes.empty());
}

TEST(RemoteSettings, the_first_line_has_the_credentials_as_they_are_then) {
  char folder[] = "/tmp/hal-credentials-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::filesystem::path directory = folder;
  auto config = parse(R"("url":"https://x.org/","headers":{"A":"credential:one","B":"Token credential:one","C":"c"})")
                    ->servers[0];
  EXPECT_EQ(first_line(ServerConfig{}).value(), "");
  EXPECT_NE(first_line(config).error().message.find("credential one"), std::string::npos);
  config.remote->credentials_directory = folder;
  EXPECT_EQ(first_line(config).error().message, "header A: there is no credential one");
  std::ofstream(directory / "one") << "secret\n";
  EXPECT_EQ(first_line(config).value(),
            R"({"headers":{"A":"secret","B":"Token secret","C":"c"},"proxy":"","timeout_ms":600000,"transport":"http",)"
            R"("url":"https://x.org/"})"
            "\n");
  std::ofstream(directory / "one") << "two\nlines\n";
  EXPECT_EQ(first_line(config).error().message, "header A: credential one: is not one line of text");
  std::filesystem::remove_all(directory);
}

TEST(ServerConfig, reads_our_own_members) {
  const auto result = parse(R"("command":"x","hal9000":{"mode":"session","network":"parent","memory_max":"512M",
    "tasks_max":64,"stop_timeout":"1500ms","max_sessions":3,"max_requests":9,"request_timeout":30})");
  ASSERT_TRUE(result) << result.error().message;
  const auto& server = result->servers[0];
  EXPECT_EQ(server.mode, Mode::session);
  EXPECT_EQ(server.network, Network::parent);
  EXPECT_EQ(server.memory_max, 512U << 20);
  EXPECT_EQ(server.tasks_max, 64U);
  EXPECT_EQ(server.stop_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(server.max_sessions, 3U);
  EXPECT_EQ(server.max_requests, 9U);
  EXPECT_EQ(server.request_timeout, std::chrono::seconds(30));
}

TEST(ServerConfig, reads_rules_for_tools_and_what_the_audit_tells) {
  const auto result = parse(R"("command":"x","hal9000":{"tools":{"allow":["a*"],"deny":["b"]},"audit":"arguments"})");
  ASSERT_TRUE(result) << result.error().message;
  const auto& server = result->servers[0];
  EXPECT_EQ(server.audit, Audit::arguments);
  EXPECT_EQ(server.tools.origin, "mcp.json: mcpServers.one.hal9000.tools");
  EXPECT_EQ(server.tools.allow, std::vector<std::string>{"a*"});
  ASSERT_EQ(server.tools.deny.size(), 1U);
  EXPECT_EQ(parse(R"("command":"x")")->servers[0].audit, Audit::hash);
  EXPECT_TRUE(parse(R"("command":"x")")->servers[0].tools.empty());
  EXPECT_EQ(error_of(R"("command":"x","hal9000":{"audit":"all"})"),
            "mcp.json: mcpServers.one.hal9000.audit: must be 'hash', 'arguments' or 'off'");
  EXPECT_EQ(error_of(R"("command":"x","hal9000":{"tools":{"deny":[{"tool":"a","arguments":{"x":1}}]}})")
                .find("mcp.json: mcpServers.one.hal9000.tools.deny[0].arguments[\"x\"]: is no JSON pointer"),
            0U);
  // Rules are the gateway's: a running process is not restarted for them.
  EXPECT_EQ(fingerprint(server), fingerprint(parse(R"("command":"x")")->servers[0]));
}

TEST(ServerConfig, an_idle_timeout_is_for_shared_servers_and_not_too_short) {
  const auto result = parse(R"("command":"x","hal9000":{"mode":"shared","idle_timeout":"10min"})");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->servers[0].idle_timeout, std::chrono::minutes(10));
  EXPECT_FALSE(parse(R"("command":"x","hal9000":{"mode":"session","idle_timeout":"10min"})"));
  EXPECT_FALSE(parse(R"("command":"x","hal9000":{"idle_timeout":"999ms"})"));
  EXPECT_TRUE(parse(R"("command":"x","hal9000":{"mode":"session","idle_timeout":0})"));
}

TEST(ServerConfig, memory_may_be_bytes) {
  const auto result = parse(R"("command":"x","hal9000":{"memory_max":268435456})");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->servers[0].memory_max, 256U << 20);
}

TEST(ServerConfig, expands_variables_in_every_text) {
  const auto result = parse(R"("command":"${LIBEXEC}/x","args":["${STATE_DIRECTORY}/db","${NONE:-d}","${EMPTY:-e}"],
    "env":{"P":"${EMPTY}"},"cwd":"${STATE_DIRECTORY}")");
  ASSERT_TRUE(result) << result.error().message;
  const auto& server = result->servers[0];
  EXPECT_EQ(server.argv, (std::vector<std::string>{"/usr/libexec/x", "/var/lib/hal9000/server/one/db", "d", "e"}));
  EXPECT_EQ(server.env.at("P"), "");
  EXPECT_EQ(server.cwd, "/var/lib/hal9000/server/one");
}

TEST(ServerConfig, does_not_look_at_the_daemons_environment) {
  ASSERT_EQ(::setenv("HAL_TEST_LEAK", "secret", 1), 0);
  EXPECT_EQ(error_of(R"("command":"x","args":["${HAL_TEST_LEAK}"])"),
            "mcp.json: mcpServers.one.args[0]: the variable HAL_TEST_LEAK is not set");
}

TEST(ServerConfig, sequential_thinking_gets_a_process_a_session) {
  for (const auto* name : {"sequential-thinking", "sequentialthinking", "sequential_thinking"}) {
    const auto result =
        parse_servers(R"({"mcpServers":{")" + std::string(name) + R"(":{"command":"x"}}})", "f", options);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->servers[0].mode, Mode::session) << name;
  }
  const auto chosen = parse_servers(
      R"({"mcpServers":{"sequential-thinking":{"command":"x","hal9000":{"mode":"shared"}}}})", "f", options);
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->servers[0].mode, Mode::shared);
}

TEST(ServerConfig, disabled_servers_are_left_out) {
  for (const auto* members : {R"("command":"x","disabled":true)", R"("command":"x","enabled":false)"}) {
    const auto result = parse(members);
    ASSERT_TRUE(result);
    EXPECT_TRUE(result->servers.empty()) << members;
  }
}

TEST(ServerConfig, tells_what_has_no_effect) {
  const auto result = parse(R"("command":"x","alwaysAllow":["a"],"timeout":5)");
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->notes, (std::vector<std::string>{"mcp.json: mcpServers.one.alwaysAllow has no effect",
                                                     "mcp.json: mcpServers.one.timeout has no effect"}));
}

struct Bad {
  const char* members;
  const char* message;
};

class ServerConfigErrors : public ::testing::TestWithParam<Bad> {};

/** `hal9000-mcp NAME` is how Claude Code starts it. */
TEST(ServerConfig, has_no_name_of_the_relays_modes) {
  for (const std::string name : {"configure", "guard"}) {
    const auto result = parse_servers(R"({"mcpServers":{")" + name + R"(":{"command":"x"}}})", "f", {});
    ASSERT_FALSE(result) << name;
    EXPECT_EQ(result.error().message, "f: mcpServers." + name + ": is a mode of hal9000-mcp and no name of a server");
  }
}

TEST_P(ServerConfigErrors, name_file_path_and_problem) {
  const auto result = parse(GetParam().members);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::invalid_argument);
  EXPECT_EQ(result.error().message, std::string("mcp.json: mcpServers.one") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ServerConfigErrors,
    ::testing::Values(
        Bad{R"("args":[])", ".command: is missing"}, Bad{R"("command":"")", ".command: is empty"},
        Bad{R"("command":7)", ".command: must be a string"},
        Bad{R"("command":"x","args":"y")", ".args: must be an array"},
        Bad{R"("command":"x","args":["a",1])", ".args[1]: must be a string"},
        Bad{R"("command":"x","args":["a\u0000b"])", ".args[0]: has a zero byte"},
        Bad{R"("command":"x","args":["${NO"])", ".args[0]: ${ without its }"},
        Bad{R"("command":"x","args":["${a b}"])", ".args[0]: ${a b} names no variable"},
        Bad{R"("command":"x","env":[])", ".env: must be an object"},
        Bad{R"("command":"x","env":{"A":1})", ".env.A: must be a string"},
        Bad{R"("command":"x","env":{"A=B":"1"})", ".env.A=B: is no name of an environment variable"},
        Bad{R"("command":"x","env":{"":"1"})", ".env.: is no name of an environment variable"},
        Bad{R"("command":"x","cwd":"srv")", ".cwd: must be an absolute path"},
        Bad{R"("type":"stdio","url":"http://x")", ".url: is for servers of type 'http' or 'sse'"},
        Bad{R"("type":"websocket","url":"http://x")",
            ".type: 'websocket' is not supported, only 'stdio', 'http' and 'sse' are"},
        Bad{R"("type":"sse","command":"x")", ".command: a server with a URL has none"},
        Bad{R"("command":"x","url":"http://x")", ".command: a server with a URL has none"},
        Bad{R"("type":"http")", ".url: is missing"}, Bad{R"("url":7)", ".url: must be a string"},
        Bad{R"("url":"ftp://x")", ".url: must be a URL that begins with https:// or http://"},
        Bad{R"("url":"https://a:b@x/")", ".url: has a user in it; put credentials into \"headers\""},
        Bad{R"("url":"http://x","headers":[])", ".headers: must be an object"},
        Bad{R"("url":"http://x","headers":{"A":1})", ".headers.A: must be a string"},
        Bad{R"("url":"http://x","headers":{"A B":"1"})", ".headers.A B: is no name of a header"},
        Bad{R"("url":"http://x","headers":{"MCP-Session-Id":"1"})",
            ".headers.MCP-Session-Id: is set by the transport itself"},
        Bad{R"("url":"http://x","headers":{"A":"a\nB: c"})", ".headers.A: has characters that no header may have"},
        Bad{R"("url":"http://x","headers":{"A":"Bearer credential:../x"})",
            ".headers.A: a credential's name has letters, digits, '.', '_' and '-', 64 at most"},
        Bad{R"("url":"http://x","timeout":"soon")", ".timeout: 'soon' is no time like 5, 500ms, 10s or 2min"},
        Bad{R"("url":"http://x","timeout":30)", ".timeout: must be at least 1 s (a number is milliseconds)"},
        Bad{R"("url":"http://x","hal9000":{"proxy":"socks5://p"})",
            ".hal9000.proxy: must be a URL that begins with http:// or https://"},
        Bad{R"("command":"x","hal9000":{"proxy":"http://p"})",
            ".hal9000.proxy: is for servers of type 'http' or 'sse'"},
        Bad{R"("command":"x","disabled":"yes")", ".disabled: must be true or false"},
        Bad{R"("command":"x","hal9000":[])", ".hal9000: must be an object"},
        Bad{R"("command":"x","hal9000":{"mode":"own"})", ".hal9000.mode: must be 'shared' or 'session'"},
        Bad{R"("command":"x","hal9000":{"network":"lan"})", ".hal9000.network: must be 'none', 'parent' or 'host'"},
        Bad{R"("command":"x","hal9000":{"memory_max":"lots"})",
            ".hal9000.memory_max: 'lots' is no size like 268435456, 256M or 1.5G"},
        Bad{R"("command":"x","hal9000":{"memory_max":-1})", ".hal9000.memory_max: must be a non-negative integer"},
        Bad{R"("command":"x","hal9000":{"memory_max":512})",
            ".hal9000.memory_max: 512 bytes are less than any server needs (16M)"},
        Bad{R"("command":"x","hal9000":{"tasks_max":"3"})", ".hal9000.tasks_max: must be a non-negative integer"},
        Bad{R"("command":"x","hal9000":{"max_sessions":0})", ".hal9000.max_sessions: must be between 1 and 1024"},
        Bad{R"("command":"x","hal9000":{"stop_timeout":true})",
            ".hal9000.stop_timeout: must be seconds, or a text like '500ms' or '10s'"},
        Bad{R"("command":"x","hal9000":{"stop_timeout":"soon"})",
            ".hal9000.stop_timeout: 'soon' is no time like 5, 500ms, 10s or 2min"},
        Bad{R"("command":"x","hal9000":{"stop_timeout":"1h"})", ".hal9000.stop_timeout: must be at most 300 s"}));

TEST(ServerConfig, unknown_own_members_are_errors) {
  const auto message = error_of(R"("command":"x","hal9000":{"memmory_max":1})");
  EXPECT_NE(message.find("mcp.json: mcpServers.one.hal9000.memmory_max"), std::string::npos) << message;
}

TEST(ServerConfig, documents_that_are_none) {
  for (const auto* text : {"", "{", "[]", "{}", R"({"mcpServers":[]})", R"({"mcpServers":{"one":7}})",
                           R"({"mcpServers":{"a/b":{"command":"x"}}})", R"({"mcpServers":{},"mcpServers":{}})"}) {
    const auto result = parse_servers(text, "mcp.json", options);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, Errc::invalid_argument) << text;
    EXPECT_TRUE(result.error().message.starts_with("mcp.json: ")) << result.error().message;
  }
}

TEST(ServerConfig, bounds_counts) {
  std::string servers;
  for (int i = 0; i < 257; ++i) {
    servers += (i > 0 ? "," : "") + ("\"s" + std::to_string(i) + R"(":{"command":"x"})");
  }
  EXPECT_FALSE(parse_servers("{\"mcpServers\":{" + servers + "}}", "f", options));
  std::string words = "\"w\"";
  for (int i = 0; i < 256; ++i) {
    words += ",\"w\"";
  }
  EXPECT_EQ(error_of("\"command\":\"x\",\"args\":[" + words + "]"),
            "mcp.json: mcpServers.one.args: has more than 255 words");
}

class ServerFiles : public ::testing::Test {
 protected:
  ServerFiles() : folder_(std::filesystem::temp_directory_path() / ("hal-server-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "mcp.d");
  }
  ~ServerFiles() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }
  [[nodiscard]] Result<ServerConfigs> read() const {
    return read_servers(folder_ / "mcp.json", folder_ / "mcp.d", options);
  }

  std::filesystem::path folder_;
};

TEST_F(ServerFiles, no_file_means_no_servers) {
  const auto result = read();
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->servers.empty());
  std::filesystem::remove(folder_ / "mcp.d");
  EXPECT_TRUE(read());
}

TEST_F(ServerFiles, later_files_win_in_name_order) {
  write("mcp.json", R"({"mcpServers":{"a":{"command":"1"},"b":{"command":"1"},"c":{"command":"1"}}})");
  write("mcp.d/20.json", R"({"mcpServers":{"b":{"command":"3"}}})");
  write("mcp.d/10.json", R"({"mcpServers":{"b":{"command":"2"},"c":{"command":"2","disabled":true}}})");
  write("mcp.d/30.txt", "no json");
  write("mcp.d/.40.json", "no json");
  const auto result = read();
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(result->servers.size(), 2U);
  EXPECT_EQ(result->servers[0].argv[0], "1");
  EXPECT_EQ(result->servers[1].argv[0], "3");
  EXPECT_EQ(result->notes.size(), 3U);
}

TEST_F(ServerFiles, errors_name_the_file) {
  write("mcp.d/10.json", "{");
  const auto result = read();
  ASSERT_FALSE(result);
  EXPECT_TRUE(result.error().message.starts_with((folder_ / "mcp.d/10.json").string() + ": "))
      << result.error().message;
}

TEST_F(ServerFiles, a_directory_or_a_huge_file_is_an_error) {
  std::filesystem::create_directory(folder_ / "mcp.json");
  EXPECT_FALSE(read());
  std::filesystem::remove(folder_ / "mcp.json");
  write("mcp.json", std::string((1 << 20) + 1, ' '));
  EXPECT_FALSE(read());
}

TEST(Fingerprint, changes_with_what_a_process_sees_only) {
  ServerConfig config;
  config.argv = {"a", "b"};
  const auto before = fingerprint(config);
  EXPECT_EQ(before.size(), 16U);
  auto other = config;
  other.max_sessions = 1;
  other.max_requests = 1;
  other.request_timeout = std::chrono::seconds(1);
  other.stop_timeout = std::chrono::seconds(1);
  EXPECT_EQ(fingerprint(other), before);
  other = config;
  other.argv = {"ab"};
  EXPECT_NE(fingerprint(other), before);
  other = config;
  other.argv = {"a"};
  other.env = {{"b", ""}};
  EXPECT_NE(fingerprint(other), before);
  other = config;
  other.network = Network::none;
  EXPECT_NE(fingerprint(other), before);
}

TEST(Units, sizes) {
  EXPECT_EQ(*parse_size("0"), 0U);
  EXPECT_EQ(*parse_size("1.5K"), 1536U);
  EXPECT_EQ(*parse_size("2T"), std::uint64_t{2} << 40);
  for (const auto* text : {"", "M", "-1", "1e9", "1 M", "1m", "99999999T", "nan", "inf", "0x10"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(Units, durations) {
  EXPECT_EQ(*parse_duration("90"), std::chrono::seconds(90));
  EXPECT_EQ(*parse_duration("0.5s"), std::chrono::milliseconds(500));
  EXPECT_EQ(*parse_duration("2min"), std::chrono::minutes(2));
  for (const auto* text : {"", "s", "-1s", "1 s", "1d"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

}  // namespace
}  // namespace hal::server
