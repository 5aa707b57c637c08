#include "claudy/import_reader.hpp"
#include "claudy/package_command.hpp"
#include "json/json.hpp"

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

ImportContext context() {
  const std::map<std::string, std::string> variables{
      {"TOKEN", "s3cret"}, {"EMPTY", ""}, {"ODD", "a${b}$"}, {"MARK", "\x01"}, {"STATE_DIRECTORY", "/mine"}};
  return {[variables](const std::string& name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            return found != variables.end() ? std::optional(found->second) : std::nullopt;
          },
          "/people/ann", "/people/ann/src/app/lib"};
}

/** The only server of a .mcp.json with this object. */
ImportedServer imported(const std::string& object, const std::string& name = "x") {
  const auto servers =
      read_import(R"({"mcpServers":{")" + name + R"(":)" + object + "}}", ImportFormat::mcp_json, context());
  EXPECT_TRUE(servers) << (servers ? "" : servers.error().message);
  return servers && servers->size() == 1 ? servers->front() : ImportedServer{};
}

struct Sample {
  const char* what;
  const char* object;
  const char* entry;
};

/** As they are found in the wild, and as the daemon gets them. */
constexpr Sample samples[] = {
    {"plain", R"({"command":"/usr/bin/s","args":["-v"],"env":{"A":"b"}})",
     R"({"command":"/usr/bin/s","args":["-v"],"env":{"A":"b"}})"},
    {"named type", R"({"type":"stdio","command":"s","args":[]})", R"({"command":"s"})"},
    {"enabled", R"({"command":"s","disabled":false,"enabled":true})", R"({"command":"s"})"},
    {"numbers and switches as values", R"({"command":"s","env":{"PORT":8080,"DEBUG":true}})",
     R"({"command":"s","env":{"PORT":"8080","DEBUG":"true"}})"},
    {"cwd", R"({"command":"bin/s","args":["./a"],"cwd":"/srv/s"})",
     R"({"command":"bin/s","args":["./a"],"cwd":"/srv/s"})"},
    {"variables", R"({"command":"s","args":["${TOKEN}","${NO:-d}","${EMPTY:-e}","${EMPTY}"]})",
     R"({"command":"s","args":["s3cret","d","e",""]})"},
    {"a value that looks like a variable stays a value", R"({"command":"s","env":{"A":"${ODD}{x}"}})",
     R"({"command":"s","env":{"A":"a${_:-${}b}${_:-${}x}"}})"},
    {"what is no variable stays", R"({"command":"s","args":["${a b}","${","$x"]})",
     R"({"command":"s","args":["${_:-${}a b}","${_:-${}","$x"]})"},
    {"the daemon's own variable", R"({"command":"s","args":["--db=${STATE_DIRECTORY}/a"]})",
     R"({"command":"s","args":["--db=${STATE_DIRECTORY}/a"]})"},
    {"http", R"({"type":"http","url":"https://a.b/mcp","headers":{"Authorization":"Bearer ${TOKEN}"}})",
     R"({"type":"http","url":"https://a.b/mcp","headers":{"Authorization":"Bearer s3cret"}})"},
    {"other names of it", R"({"type":"streamableHttp","serverUrl":"http://a/"})",
     R"({"type":"http","url":"http://a/"})"},
    {"and without a type", R"({"httpUrl":"http://a/"})", R"({"type":"http","url":"http://a/"})"},
    {"sse", R"({"type":"sse","url":"http://a/sse"})", R"({"type":"sse","url":"http://a/sse"})"},
    {"milliseconds", R"({"command":"s","timeout":60000})",
     R"({"command":"s","hal9000":{"request_timeout":"60000ms"}})"},
    {"seconds", R"({"command":"s","timeout":60})", R"({"command":"s","hal9000":{"request_timeout":"60000ms"}})"},
    {"of a server elsewhere", R"({"url":"http://a/","timeout":60})",
     R"({"type":"http","url":"http://a/","timeout":"60000ms"})"},
    {"ours", R"({"command":"s","hal9000":{"mode":"session"}})", R"({"command":"s","hal9000":{"mode":"session"}})"},
    {"what has no meaning here", R"({"command":"s","alwaysAllow":["a"],"autoApprove":[],"description":"d"})",
     R"({"command":"s"})"},
};

TEST(Import, takes_what_is_found_in_the_wild) {
  for (const auto& sample : samples) {
    const auto server = imported(sample.object);
    EXPECT_EQ(server.skipped, "") << sample.what;
    EXPECT_EQ(json::parse(server.entry), json::parse(sample.entry)) << sample.what << ": " << server.entry;
    EXPECT_FALSE(server.package) << sample.what;
  }
}

TEST(Import, says_why_a_server_cannot_be_carried_over) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(5)", "no object"},
      {R"({})", "neither a command nor a url"},
      {R"({"command":5,"args":{}})", "args: must be an array"},
      {R"({"command":["s"]})", "command: must be a string"},
      {R"({"command":"s","args":["a",{}]})", "args[1]: must be a string"},
      {R"({"command":"s","env":{"A":[]}})", "env.A: must be a string"},
      {R"({"command":"s","env":["A"]})", "env: must be an object"},
      {R"({"command":""})", "is empty"},
      {R"({"command":"s","disabled":true})", "disabled"},
      {R"({"command":"s","enabled":false})", "disabled"},
      {R"({"command":"s","disabled":"no"})", "disabled: must be"},
      {R"({"type":"ws","url":"ws://a"})", "type 'ws'"},
      {R"({"type":"http","url":"http://a","headersHelper":"h.sh"})", "headersHelper"},
      {R"({"type":"http"})", "url"},
      {R"({"type":"http","url":"file:///etc/passwd"})", "url"},
      {R"({"type":7,"command":"s"})", "type: must be a string"},
      {R"({"command":"./s"})", "relative path"},
      {R"({"command":"bin/s"})", "relative path"},
      {R"({"command":"s","args":["../x"]})", "relative path"},
      {R"({"command":"/people/ann/bin/s"})", "claudy server install x"},
      {R"({"command":"s","cwd":"here"})", "cwd"},
      {R"({"command":"s","cwd":"/people/ann"})", "lies in your home"},
      {R"({"command":"s","args":["${UNSET}"]})", "args[0]: the variable UNSET is not set"},
      {R"({"command":"s","args":["${MARK}"]})", "control character"},
      {R"({"command":"npx","args":["--shell-auto-fallback","x"]})", "not understood"},
      {R"({"command":"npx","args":["-y"]})", "not understood"},
      {R"({"command":"s","hal9000":3})", "hal9000"},
  };
  for (const auto& [object, why] : cases) {
    const auto server = imported(object);
    EXPECT_THAT(server.skipped, HasSubstr(why)) << object;
    EXPECT_EQ(server.entry, "") << object;
  }
  EXPECT_THAT(imported(R"({"command":"s"})", "My Server").skipped, HasSubstr("name"));
  EXPECT_EQ(imported(R"({"command":"/people/anna/s"})").skipped, "") << "not in this home";
}

TEST(Import, tells_what_its_owner_should_know) {
  EXPECT_THAT(imported(R"({"command":"${TOKEN}","args":["${NO:-x}"]})").notes,
              ElementsAre(HasSubstr("the values of TOKEN are taken")));
  EXPECT_THAT(imported(R"({"command":"s","args":["/people/ann/docs"]})").notes, ElementsAre(HasSubstr("args[0]")));
  EXPECT_THAT(imported(R"({"command":"s","alwaysAllow":[],"icon":"i"})").notes,
              ElementsAre(HasSubstr("alwaysAllow"), HasSubstr("icon")));
  EXPECT_THAT(imported(R"({"url":"http://a","oauth":{"clientId":"x"}})").notes, ElementsAre(HasSubstr("oauth")));
  EXPECT_THAT(imported(R"({"command":"s","timeout":-1})").notes, ElementsAre(HasSubstr("timeout")));
  EXPECT_THAT(imported(R"({"command":"s","timeout":"soon"})").notes, ElementsAre(HasSubstr("timeout")));
}

TEST(Import, finds_commands_that_fetch_packages) {
  struct Case {
    std::vector<std::string> words;
    std::string package;
    std::string bin;
    std::vector<std::string> args;
  };
  const Case cases[] = {
      {{"npx", "-y", "@a/b", "--x", "-y"}, "npm:@a/b", "", {"--x", "-y"}},
      {{"npx", "b@1.2.3"}, "npm:b@1.2.3", "", {}},
      {{"/usr/bin/npx", "--yes", "--", "b@latest", "c"}, "npm:b@latest", "", {"c"}},
      {{"npx", "-y", "-p", "@a/b", "run", "c"}, "npm:@a/b", "run", {"c"}},
      {{"npx", "--package=@a/b", "run"}, "npm:@a/b", "run", {}},
      {{"cmd", "/c", "npx", "-y", "b"}, "npm:b", "", {}},
      {{"C:\\nodejs\\npx.cmd", "b"}, "npm:b", "", {}},
      {{"uvx", "mcp-server-time", "--local-timezone", "UTC"}, "pypi:mcp-server-time", "", {"--local-timezone", "UTC"}},
      {{"uvx", "a@1.0"}, "pypi:a==1.0", "", {}},
      {{"uvx", "a@latest"}, "pypi:a", "", {}},
      {{"uvx", "a==1.0"}, "pypi:a==1.0", "", {}},
      {{"uvx", "--from", "a==2", "run", "x"}, "pypi:a==2", "run", {"x"}},
      {{"uv", "tool", "run", "a"}, "pypi:a", "", {}},
      {{"pipx", "run", "a"}, "pypi:a", "", {}},
  };
  for (const auto& one : cases) {
    const auto found = package_command(one.words);
    ASSERT_TRUE(found) << one.words[0] << " " << one.words[1];
    EXPECT_EQ(found->package, one.package);
    EXPECT_EQ(found->bin, one.bin);
    EXPECT_EQ(found->args, one.args);
  }
  const std::vector<std::string> others[] = {
      {"npx"},        {"npx", "-c", "x"}, {"npx", "github:a/b"},       {"npx", "./here"},
      {"npx", "a/b"}, {"uvx", "a[cli]"},  {"uvx", "--with", "b", "a"}, {"uvx", "git+https://a"}};
  for (const auto& words : others) {
    EXPECT_TRUE(fetches_package(words));
    EXPECT_FALSE(package_command(words)) << words.back();
  }
  EXPECT_FALSE(fetches_package({"node", "npx"}));
  EXPECT_FALSE(fetches_package({"uv", "run", "a"}));
  const auto server = imported(R"({"command":"npx","args":["-y","b","${TOKEN}"],"env":{"K":"${TOKEN}"}})");
  ASSERT_TRUE(server.package);
  EXPECT_THAT(server.package->args, ElementsAre("s3cret"));
  EXPECT_EQ(server.env.at("K"), "s3cret");
  EXPECT_THAT(server.words, ElementsAre("npx", "-y", "b", "${TOKEN}")) << "what is shown has no values";
}

TEST(Import, reads_claude_codes_scopes) {
  const std::string text = R"({"numStartups":5,
    "mcpServers":{"a":{"command":"user"},"b":{"command":"user"}},
    "projects":{"/people/ann/src/app":{"mcpServers":{"b":{"command":"app"}},"history":[{"display":"x"}]},
                "/people/ann/src/app/lib":{"mcpServers":{}},
                "/people/ann":{"mcpServers":{"c":{"command":"home"}}}}})";
  const auto servers = read_import(text, ImportFormat::claude_code, context());
  ASSERT_TRUE(servers) << servers.error().message;
  ASSERT_EQ(servers->size(), 2U);
  EXPECT_EQ(json::parse((*servers)[0].entry)["command"], "user");
  EXPECT_EQ(json::parse((*servers)[1].entry)["command"], "app") << "the nearest project that has some goes first";
  EXPECT_TRUE(read_import("{}", ImportFormat::claude_code, context())->empty());
}

TEST(Import, refuses_a_file_that_makes_no_sense) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "line 1"},
      {"{", "line 1"},
      {"[]", "must be an object"},
      {"{}", "mcpServers"},
      {R"({"mcpServers":[]})", "mcpServers: must be an object"},
      {R"({"mcpServers":{"a":{},"a":{}}})", "twice"},
  };
  for (const auto& [text, problem] : cases) {
    const auto servers = read_import(text, ImportFormat::claude_desktop, context());
    ASSERT_FALSE(servers) << text;
    EXPECT_EQ(servers.error().code, Errc::invalid_argument);
    EXPECT_THAT(servers.error().message, HasSubstr(problem)) << text;
  }
  std::string many = R"({"mcpServers":{"s":{})";
  for (int i = 0; i < 300; ++i) {
    many += ",\"s" + std::to_string(i) + "\":{}";
  }
  EXPECT_EQ(read_import(many + "}}", ImportFormat::mcp_json, context()).error().code, Errc::limit);
  EXPECT_FALSE(read_import(R"({"projects":{"/people/ann":5}})", ImportFormat::claude_code, context()));
}

}  // namespace
}  // namespace hal::claudy
