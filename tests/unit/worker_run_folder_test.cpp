#include "worker/container_spec.hpp"
#include "worker/run_folder.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::worker {
namespace {

class RunFolder : public testing::Test {
 protected:
  RunFolder() {
    char name[] = "/tmp/hal9000-run-XXXXXX";
    settings.run_dir = ::mkdtemp(name);
    std::filesystem::create_directory(settings.run_dir + "/worker");
    worker.id = {"0123456789ab"};
    worker.servers = {"memory"};
  }
  ~RunFolder() override { std::filesystem::remove_all(settings.run_dir); }

  std::string file(const std::string& name) const {
    std::ifstream in(run_folder(settings, worker.id) + "/" + name);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  Settings settings;
  Worker worker;
};

TEST_F(RunFolder, the_token_is_the_workers_and_stays) {
  ASSERT_TRUE(make_run_folder(settings, worker, {"other"}).has_value());
  const auto token = worker_token(settings, worker.id);
  ASSERT_TRUE(token.has_value());
  EXPECT_EQ(token->rfind("0123456789ab.", 0), 0U);
  EXPECT_EQ(token->size(), 12U + 1 + 64);
  EXPECT_EQ(file("token"), *token);
  ASSERT_TRUE(make_run_folder(settings, worker, {"other"}).has_value());  // a restart of the worker
  EXPECT_EQ(worker_token(settings, worker.id).value_or(""), *token);
}

TEST_F(RunFolder, a_damaged_token_is_made_anew) {
  ASSERT_TRUE(make_run_folder(settings, worker, {"other"}).has_value());
  const auto token = *worker_token(settings, worker.id);
  for (const auto& damaged : {std::string(), token.substr(1), token + "0", "x" + token.substr(1)}) {
    std::ofstream(run_folder(settings, worker.id) + "/token") << damaged;
    const auto fresh = worker_token(settings, worker.id);
    ASSERT_TRUE(fresh.has_value());
    EXPECT_NE(*fresh, damaged);
    EXPECT_NE(*fresh, token);
    EXPECT_EQ(file("token"), *fresh);
  }
}

TEST_F(RunFolder, no_two_workers_have_one_token) {
  ASSERT_TRUE(make_run_folder(settings, worker, {"other"}).has_value());
  const auto one = file("token");
  worker.id = {"ab0123456789"};
  ASSERT_TRUE(make_run_folder(settings, worker, {"other"}).has_value());
  EXPECT_NE(file("token").substr(13), one.substr(13));
}

nlohmann::json json_of(const std::string& text) {
  return nlohmann::json::parse(text);
}

TEST_F(RunFolder, tells_the_worker_and_claude_code_what_they_may) {
  ASSERT_TRUE(make_run_folder(settings, worker, {"other"}).has_value());
  EXPECT_EQ(json_of(file("mcp.json")), json_of(R"({"servers":["memory"],"others":["other"]})"));
  const auto held_to = json_of(file("settings.json"));
  EXPECT_EQ(held_to["deniedMcpServers"], json_of(R"([{"serverCommand":["/usr/local/bin/hal9000-mcp","other"]}])"));
  EXPECT_EQ(held_to["env"]["DISABLE_TELEMETRY"], "1");
  EXPECT_EQ(held_to["hooks"]["PreToolUse"][0]["hooks"][0]["command"], "/usr/local/bin/hal9000-mcp guard git rm env");
}

TEST_F(RunFolder, has_the_guards_of_the_profile_in_the_same_file) {
  worker.profile = "own";
  settings.profiles["own"].guards = {"git"};
  ASSERT_TRUE(make_run_folder(settings, worker, {}).has_value());
  const std::string path = run_folder(settings, worker.id) + "/settings.json";
  struct stat first {};
  ASSERT_EQ(::stat(path.c_str(), &first), 0);
  const auto hook = json_of(file("settings.json"))["hooks"]["PreToolUse"][0];
  EXPECT_EQ(hook["matcher"], "Bash");
  EXPECT_EQ(hook["hooks"][0]["command"], "/usr/local/bin/hal9000-mcp guard git");
  EXPECT_FALSE(json_of(file("settings.json")).contains("deniedMcpServers"));
  settings.profiles["own"].guards = {};
  ASSERT_TRUE(make_run_folder(settings, worker, {}).has_value());
  EXPECT_FALSE(json_of(file("settings.json")).contains("hooks"));
  struct stat second {};
  ASSERT_EQ(::stat(path.c_str(), &second), 0);
  EXPECT_EQ(first.st_ino, second.st_ino) << "which is mounted in the worker";
}

TEST_F(RunFolder, nothing_stays_behind) {
  ASSERT_TRUE(make_run_folder(settings, worker, {"other"}).has_value());
  remove_run_folder(settings, worker.id);
  EXPECT_FALSE(std::filesystem::exists(run_folder(settings, worker.id)));
}

}  // namespace
}  // namespace hal::worker
