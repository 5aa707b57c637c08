#include "host/claude_settings.hpp"
#include "host/inherit.hpp"
#include "host/user_rights.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::host {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::TempDir;

constexpr uid_t owner = 1234;

class Inherit : public ::testing::Test {
 protected:
  Inherit() : host_(folder_.path() + "/host"), worker_(folder_.path() + "/worker") {
    for (const auto& home : {host_, worker_}) {
      fs::create_directories(home);
    }
    write("settings.json", "{}");
    write("CLAUDE.md", "be kind\n");
    write("agents/reviewer.md", "review\n");
    write("skills/deep/er/SKILL.md", "skill\n");
    write("skills/deep/run.sh", "#!/bin/sh\n");
    ::chmod(original("skills/deep/run.sh").c_str(), 04755);
  }

  std::string original(const std::string& name) const { return host_ + "/.claude/" + name; }
  std::string copy(const std::string& name) const { return worker_ + "/.claude/" + name; }

  static void write_to(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path, std::ios::trunc) << text;
  }
  /** Each change of an original has a later second than the one before. */
  void write(const std::string& name, const std::string& text) {
    write_to(original(name), text);
    const timespec times[] = {{0, UTIME_OMIT}, {++seconds_, 123}};
    ::utimensat(AT_FDCWD, original(name).c_str(), times, 0);
  }

  std::string inherit() const {
    const UniqueFd from(::open(host_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const UniqueFd to(::open(worker_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    return inherit_settings(from.get(), to.get());
  }

  std::string text(const std::string& name) const {
    std::ifstream file(copy(name));
    return file ? std::string(std::istreambuf_iterator<char>(file), {}) : "none";
  }

  TempDir folder_;
  std::string host_;
  std::string worker_;
  time_t seconds_ = 1'700'000'000;
};

TEST_F(Inherit, what_is_the_users_own_comes_and_nothing_else) {
  for (const char* name : {".credentials.json", "history.jsonl", "projects/-home-me/1.jsonl", "settings.local.json",
                           "agents/.hidden", "statsig/x", "plugins/config.json", "todos/1.json"}) {
    write(name, "{}");
  }
  EXPECT_EQ(inherit(), "");
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(worker_)) {
    if (!entry.is_directory()) {
      found.push_back(fs::relative(entry.path(), worker_ + "/.claude"));
    }
  }
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (std::vector<std::string>{"CLAUDE.md", "agents/reviewer.md", "settings.json",
                                             "skills/deep/er/SKILL.md", "skills/deep/run.sh"}));
  EXPECT_EQ(text("CLAUDE.md"), "be kind\n");
  struct stat status {};
  ASSERT_EQ(::stat(copy("skills/deep/run.sh").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0711U) << "executable, and not more";
}

TEST_F(Inherit, a_copy_follows_its_original_until_it_is_written_to) {
  ASSERT_EQ(inherit(), "");
  write("CLAUDE.md", "be brief\n");
  write("agents/new.md", "new\n");
  fs::remove(original("agents/reviewer.md"));
  fs::remove_all(original("skills"));
  ASSERT_EQ(inherit(), "");
  EXPECT_EQ(text("CLAUDE.md"), "be brief\n");
  EXPECT_EQ(text("agents/new.md"), "new\n");
  EXPECT_EQ(text("agents/reviewer.md"), "none");
  EXPECT_FALSE(fs::exists(copy("skills")));

  write_to(copy("CLAUDE.md"), "be mine\n");
  write_to(copy("agents/own.md"), "own\n");
  write("CLAUDE.md", "be theirs\n");
  write("agents/own.md", "theirs\n");
  ASSERT_EQ(inherit(), "");
  EXPECT_EQ(text("CLAUDE.md"), "be mine\n");
  EXPECT_EQ(text("agents/own.md"), "own\n");
  fs::remove_all(original(""));
  write("CLAUDE.md", "back\n");
  ASSERT_EQ(inherit(), "");
  EXPECT_EQ(text("agents/own.md"), "own\n") << "with nothing in its place";
  EXPECT_EQ(text("agents/new.md"), "none");
}

TEST_F(Inherit, what_is_current_is_not_written_again) {
  ASSERT_EQ(inherit(), "");
  struct stat before {};
  struct stat after {};
  ASSERT_EQ(::stat(copy("CLAUDE.md").c_str(), &before), 0);
  ASSERT_EQ(inherit(), "");
  ASSERT_EQ(::stat(copy("CLAUDE.md").c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(Inherit, odd_files_are_left_out_and_named) {
  write(".credentials.json", "secret");
  fs::create_symlink("../.credentials.json", original("agents/link.md"));
  fs::create_directory_symlink(".", original("skills/loop"));
  fs::create_directory_symlink("/etc", original("commands"));
  ASSERT_EQ(::mkfifo(original("agents/pipe.md").c_str(), 0666), 0);
  write("agents/huge.md", std::string((256 << 10) + 1, 'x'));
  write("settings.json", "{\"model\":");
  fs::remove(original("CLAUDE.md"));
  fs::create_directory(original("CLAUDE.md"));
  const auto note = inherit();
  for (const char* part :
       {"agents/link.md (a link)", "skills/loop (a link)", "commands (a link)", "agents/pipe.md (no file)",
        "agents/huge.md (larger than 256 KiB)", "settings.json (parse error", "CLAUDE.md (no file)"}) {
    EXPECT_NE(note.find(part), std::string::npos) << part << " in " << note;
  }
  EXPECT_EQ(text("agents/reviewer.md"), "review\n") << "the others come";
  EXPECT_EQ(text("agents/link.md"), "none");
}

TEST_F(Inherit, there_is_an_end_to_it) {
  std::string deep = "skills";
  for (int i = 0; i < 12; ++i) {
    deep += "/d";
  }
  write(deep + "/SKILL.md", "deep");
  const auto deep_note = inherit();
  EXPECT_NE(deep_note.find("/d (too deep)"), std::string::npos) << deep_note;
  EXPECT_EQ(text(deep + "/SKILL.md"), "none");
  for (int i = 0; i < 1100; ++i) {
    write("commands/" + std::to_string(i) + ".md", "x");
  }
  const auto wide_note = inherit();
  EXPECT_NE(wide_note.find("commands (too many files)"), std::string::npos) << wide_note;
}

TEST_F(Inherit, links_that_an_agent_left_lead_nowhere) {
  const auto elsewhere = folder_.path() + "/elsewhere";
  write_to(elsewhere + "/reviewer.md", "of the host");
  write_to(elsewhere + "/file", "of the host");
  fs::create_directory(worker_ + "/.claude");
  fs::create_directory_symlink(elsewhere, copy("agents"));
  fs::create_symlink(elsewhere + "/file", copy("CLAUDE.md"));
  fs::create_symlink(elsewhere + "/file", copy(".hal9000-copy"));
  const auto note = inherit();
  EXPECT_NE(note.find("agents ("), std::string::npos) << note;
  for (const char* file : {"/reviewer.md", "/file"}) {
    std::ifstream kept(elsewhere + file);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(kept), {}), "of the host");
  }
  EXPECT_TRUE(fs::is_symlink(copy("CLAUDE.md"))) << "written in a worker, so it stays";
}

TEST_F(Inherit, uses_the_users_rights) {
  const int chowned = std::system(("chown -R 1234:1234 " + folder_.path()).c_str());
  ASSERT_EQ(chowned, 0);
  ::chmod(original("CLAUDE.md").c_str(), 0600);
  ASSERT_EQ(::chown(original("CLAUDE.md").c_str(), 0, 0), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const ActAs user({owner, owner, {owner}});
    ::_exit(inherit() == "not inherited: CLAUDE.md (Permission denied)" ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(text("CLAUDE.md"), "none");
  struct stat made {};
  ASSERT_EQ(::stat(copy("agents/reviewer.md").c_str(), &made), 0);
  EXPECT_EQ(made.st_uid, owner);
}

TEST(ClaudeSettings, are_without_secrets_and_programs_of_the_host) {
  const json kept = {{"model", "opus"}, {"permissions", {{"allow", {"Bash(ls:*)"}}}}};
  const json told = {
      {"HTTP_PROXY", "http://proxy:1"}, {"EDITOR", "vi"}, {"GIT_AUTHOR_NAME", "me"}, {"MAX_THINKING_TOKENS", "1000"}};
  json given = kept;
  for (const char* key : {"hooks", "apiKeyHelper", "statusLine", "sandbox"}) {
    given[key] = {{"command", "/usr/bin/program"}};
  }
  given["env"] = told;
  for (const char* key : {"ANTHROPIC_API_KEY", "GITHUB_TOKEN", "my_password", "AUTHTOKEN_OF_X", "PATH", "LD_PRELOAD"}) {
    given["env"][key] = "never seen";
  }
  given["env"]["HTTPS_PROXY"] = "http://me:never-seen@proxy:1";
  given["env"]["ODD"] = 7;
  const auto text = settings_for_worker(given.dump());
  ASSERT_TRUE(text) << text.error().message;
  json expected = kept;
  expected["env"] = told;
  EXPECT_EQ(json::parse(*text), expected);
  for (const char* bad : {"", "[]", "{", "{\"env\":[]}", "{\"a\":1,\"a\":2}"}) {
    EXPECT_FALSE(settings_for_worker(bad)) << bad;
  }
}

}  // namespace
}  // namespace hal::host
