#include "json/json.hpp"
#include "server/config.hpp"
#include "server/managed.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hal::server {
namespace {

using testing::HasSubstr;

class Managed : public testing::Test {
 protected:
  Managed() {
    std::string name = (std::filesystem::temp_directory_path() / "hal-managed-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    directory_ = folder_ + "/mcp.d";
  }
  ~Managed() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] ServerConfigs defined() const {
    auto read = read_servers(folder_ + "/mcp.json", directory_, options_);
    EXPECT_TRUE(read) << (read ? "" : read.error().message);
    return read ? *read : ServerConfigs{};
  }
  [[nodiscard]] Result<std::vector<PlannedServer>> plan(const std::string& servers) const {
    return plan_servers(R"({"mcpServers":)" + servers + "}", defined(), directory_, options_);
  }
  [[nodiscard]] PlannedServer plan_of(const std::string& server) const {
    const auto planned = plan(R"({"a":)" + server + "}");
    EXPECT_TRUE(planned && planned->size() == 1);
    return planned && planned->size() == 1 ? planned->front() : PlannedServer{};
  }
  void write(const PlannedServer& server) const {
    const auto done = write_files(directory_, {{managed_file(directory_, server.name), server.text}});
    ASSERT_TRUE(done) << done.error().message;
  }
  static std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  std::string folder_;
  std::string directory_;
  ConfigOptions options_{"/state", {}};
};

TEST_F(Managed, is_added_then_the_same_then_replaced) {
  const auto first = plan_of(R"({"command":"s","args":["x"],"env":{"A":"b","C":"d"}})");
  EXPECT_EQ(first.change, Change::added);
  write(first);
  ASSERT_EQ(defined().servers.size(), 1U);
  EXPECT_EQ(defined().servers[0].file, managed_file(directory_, "a"));
  EXPECT_EQ(plan_of(R"({"args":["x"],"command":"s","env":{"C":"d","A":"b"}})").change, Change::same);
  const auto other = plan_of(R"({"command":"s","args":["y"],"env":{"A":"b","C":"secret"},"cwd":"/"})");
  EXPECT_EQ(other.change, Change::replaced);
  EXPECT_EQ(other.detail, "args, cwd, env.C");
  write(other);
  EXPECT_EQ(defined().servers[0].cwd, "/");
}

TEST_F(Managed, is_for_root_alone) {
  write(plan_of(R"({"command":"s"})"));
  struct stat status {};
  ASSERT_EQ(::stat(managed_file(directory_, "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  ASSERT_EQ(::stat(directory_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0755U);
}

TEST_F(Managed, never_changes_an_operators_file) {
  std::ofstream(folder_ + "/mcp.json")
      << R"({"mcpServers":{"a":{"command":"theirs"},"b":{"command":"x","disabled":true}}})";
  const auto server = plan_of(R"({"command":"s"})");
  EXPECT_EQ(server.change, Change::refused);
  EXPECT_EQ(server.code, Errc::already_exists);
  EXPECT_THAT(server.detail, HasSubstr(folder_ + "/mcp.json"));
  EXPECT_EQ(plan_of(R"({"command":"theirs"})").change, Change::same);
  EXPECT_EQ(plan(R"({"b":{"command":"s"}})")->front().change, Change::refused) << "a disabled one is defined as well";
}

TEST_F(Managed, refuses_what_reload_would_not_take) {
  for (const auto& [server, problem] :
       {std::pair(R"({"args":[]})", "mcpServers.a.command"), std::pair(R"({"command":5})", "mcpServers.a.command"),
        std::pair(R"({"command":"s","hal9000":{"x":1}})", "mcpServers.a.hal9000.x"),
        std::pair(R"({"command":"${X}"})", "X is not set"), std::pair("7", "must be an object")}) {
    const auto planned = plan_of(server);
    EXPECT_EQ(planned.change, Change::refused) << server;
    EXPECT_EQ(planned.code, Errc::invalid_argument);
    EXPECT_THAT(planned.detail, HasSubstr(problem));
  }
  const auto thief = plan_of(
      R"({"type":"http","url":"https://a.example/","headers":{"Authorization":"Bearer credential:anthropic-api-key"}})");
  EXPECT_EQ(thief.change, Change::refused);
  EXPECT_THAT(thief.detail, HasSubstr("mcpServers.a.headers.Authorization"));
  EXPECT_EQ(plan_of(R"({"type":"http","url":"https://a.example/","headers":{"Authorization":"Bearer x"}})").change,
            Change::added);
  EXPECT_EQ(plan(R"({"../x":{"command":"s"}})")->front().change, Change::refused);
  for (const auto* text : {"", "[]", "{}", R"({"mcpServers":5})"}) {
    EXPECT_FALSE(plan_servers(text, {}, directory_, options_)) << text;
  }
  std::string many = R"({"s":{"command":"s"})";
  for (std::size_t i = 0; i < max_servers; ++i) {
    many += ",\"s" + std::to_string(i) + R"(":{"command":"s"})";
  }
  EXPECT_EQ(plan(many + "}").error().code, Errc::limit);
}

TEST_F(Managed, writes_all_or_nothing) {
  write(plan_of(R"({"command":"s"})"));
  const auto before = text_of(managed_file(directory_, "a"));
  const auto failed = write_files(
      directory_, {{managed_file(directory_, "a"), "new"}, {directory_ + "/nowhere/b.managed.json", "new"}});
  EXPECT_FALSE(failed);
  EXPECT_EQ(text_of(managed_file(directory_, "a")), before);
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_)) {
    ++files;
  }
  EXPECT_EQ(files, 1U) << "nothing temporary stays";
  ASSERT_TRUE(write_files(directory_, {{managed_file(directory_, "a"), std::nullopt}}));
  EXPECT_TRUE(defined().servers.empty());
}

}  // namespace
}  // namespace hal::server
