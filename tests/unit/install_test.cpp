#include "install/inspect.hpp"
#include "install/package.hpp"
#include "install/recipe.hpp"
#include "install/tree.hpp"
#include "json/json.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::install {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "hal-install-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void write(const std::string& name, const std::string& text, bool program = false) const {
    const auto file = std::filesystem::path(path) / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    std::filesystem::permissions(file, std::filesystem::perms(program ? 0755 : 0600));
  }
  [[nodiscard]] nlohmann::json lock() const {
    std::ifstream file(path + "/lock.json");
    return nlohmann::json::parse(file);
  }

  std::string path;
};

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777U;
}

TEST(Package, is_read_and_written) {
  for (const auto* text : {"npm:a", "npm:@a/b", "npm:@a/b@1.2.3", "npm:a@^1", "npm:a@latest", "npm:JSONStream",
                           "pypi:a", "pypi:mcp-server-time==2025.8.4", "pypi:A.b_c==1!2.0.post1+x"}) {
    const auto package = parse_package(text);
    ASSERT_TRUE(package) << text;
    EXPECT_EQ(package->text(), text);
  }
  EXPECT_EQ(parse_package("npm:@a/b@1")->requirement(), "@a/b@1");
  EXPECT_EQ(parse_package("pypi:a==1")->requirement(), "a==1");
}

TEST(Package, is_nothing_else) {
  for (const auto* text : {"",
                           "a",
                           "npm:",
                           "npm:@",
                           "npm:@a",
                           "npm:@a/",
                           "npm:@/b",
                           "npm:a@",
                           "npm:a/b",
                           "npm:../a",
                           "npm:-g",
                           "npm:.a",
                           "npm:a@-g",
                           "npm:a@file:x",
                           "npm:a@1 2",
                           "npm:http://a",
                           "npm:a b",
                           "npm:github:a/b",
                           "npm:@a/b/c",
                           "npm:a\n",
                           "pypi:",
                           "pypi:-r",
                           "pypi:a=1",
                           "pypi:a==",
                           "pypi:a==-1",
                           "pypi:a[x]",
                           "pypi:a @ http://b",
                           "pypi:a==1 ; x",
                           "pypi:a>=1",
                           "gem:a",
                           "npm:a@1/2"}) {
    EXPECT_FALSE(parse_package(text)) << text;
  }
  EXPECT_FALSE(parse_package("npm:" + std::string(300, 'a')));
  EXPECT_FALSE(parse_package("npm:a@" + std::string(100, '1')));
}

TEST(Recipe, runs_no_code_of_packages_unless_it_may) {
  const auto words = [](const std::string& package, bool scripts) {
    return steps("s", *parse_package(package), "/f", scripts).back().config.argv;
  };
  EXPECT_THAT(words("npm:a@1", false), testing::Contains("--ignore-scripts"));
  EXPECT_THAT(words("npm:a@1", true), testing::Not(testing::Contains("--ignore-scripts")));
  EXPECT_THAT(words("pypi:a==1", false), testing::Contains("--only-binary=:all:"));
  EXPECT_THAT(words("pypi:a==1", true), testing::Not(testing::Contains("--only-binary=:all:")));
  EXPECT_EQ(words("npm:a@1", false).back(), "a@1");
}

TEST(Recipe, says_why_it_failed) {
  const auto package = *parse_package("npm:a@9");
  const auto text = [&](std::string_view output) { return failure(package, output, "exited with code 1"); };
  EXPECT_EQ(text("npm error code E404\nnpm error 404 Not Found - GET a\n").code, Errc::not_found);
  EXPECT_EQ(text("npm error code ETARGET\nnpm error notarget No matching version found for a@9.\n").code,
            Errc::not_found);
  EXPECT_EQ(text("npm error code EAI_AGAIN\nnpm error request failed\n").code, Errc::unavailable);
  EXPECT_EQ(text("npm error code ENOSPC\n").code, Errc::limit);
  EXPECT_EQ(text("WARNING: Retrying: Failed to establish a new connection\nERROR: No matching distribution found for "
                 "a==9\n")
                .code,
            Errc::unavailable);
  EXPECT_EQ(text("ERROR: No matching distribution found for a==9\n").code, Errc::not_found);
  EXPECT_EQ(text("ERROR: Could not install: [Errno 28] No space left on device\n").code, Errc::limit);
  EXPECT_THAT(text("npm error code E404\nnpm error A complete log of this run can be found in: /x\n").message,
              testing::AllOf(HasSubstr("npm:a@9"), HasSubstr("code E404"), testing::Not(HasSubstr("complete log"))));
  EXPECT_THAT(text("").message, HasSubstr("exited with code 1"));
  EXPECT_LT(text(std::string(100'000, 'x')).message.size(), 1000U);
}

TEST(Inspect, finds_the_program_of_an_npm_package) {
  const Folder folder;
  folder.write("node_modules/@a/b/package.json", R"({"version":"1.2.3","bin":"dist/index.js"})");
  folder.write("package-lock.json",
               R"({"packages":{"":{},"node_modules/@a/b":{"version":"1.2.3","integrity":"sha512-x"},
    "node_modules/c":{"version":"4.0.0","integrity":"sha512-y"}}})");
  const auto package = *parse_package("npm:@a/b");
  EXPECT_THAT(inspect(package, folder.path, "").error().message, HasSubstr("was not installed"));
  folder.write("node_modules/.bin/b", "#!/usr/bin/env node\n", true);
  const auto found = inspect(package, folder.path, "");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->program, folder.path + "/node_modules/.bin/b");
  EXPECT_EQ(found->package.text(), "npm:@a/b@1.2.3");
  EXPECT_EQ(folder.lock()["package"], "npm:@a/b@1.2.3");
  EXPECT_EQ(folder.lock()["integrity"], "sha512-x");
  EXPECT_EQ(folder.lock()["packages"]["node_modules/c"]["integrity"], "sha512-y");

  folder.write("node_modules/@a/b/package.json", R"({"version":"1.2.3","bin":{"b":"x","d":"y","../e":"z"}})");
  EXPECT_THAT(inspect(package, folder.path, "").error().message, HasSubstr("--bin: b, d"));
  EXPECT_TRUE(inspect(package, folder.path, "b"));
  EXPECT_THAT(inspect(package, folder.path, "../e").error().message, HasSubstr("no program '../e'"));
  folder.write("node_modules/@a/b/package.json", R"({"version":"1.2.3"})");
  EXPECT_THAT(inspect(package, folder.path, "").error().message, HasSubstr("has no program"));
  for (const auto* manifest : {"", "[]", R"({"version":5})", R"({"version":"1","bin":[5]})"}) {
    folder.write("node_modules/@a/b/package.json", manifest);
    EXPECT_FALSE(inspect(package, folder.path, "")) << manifest;
  }
}

TEST(Inspect, finds_the_program_of_a_pypi_package) {
  const Folder folder;
  folder.write(".scratch/report.json",
               R"({"install":[{"metadata":{"name":"MCP.Server_time","version":"1.0"},
                   "download_info":{"archive_info":{"hashes":{"sha256":"abc"}}}},
                  {"metadata":{"name":"dep","version":"2"},"download_info":{}}]})");
  folder.write("lib/python3.11/site-packages/mcp_server_time-1.0.dist-info/entry_points.txt",
               "[console_scripts]\nmcp-server-time = mcp_server_time:main\n[other]\nx = y\n");
  folder.write("bin/mcp-server-time", "#!/bin/sh\n", true);
  const auto found = inspect(*parse_package("pypi:mcp-server-time"), folder.path, "");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->program, folder.path + "/bin/mcp-server-time");
  EXPECT_EQ(found->package.text(), "pypi:mcp-server-time==1.0");
  EXPECT_EQ(folder.lock()["integrity"], "sha256:abc");
  EXPECT_EQ(folder.lock()["packages"]["dep"]["version"], "2");
  EXPECT_THAT(inspect(*parse_package("pypi:other"), folder.path, "").error().message, HasSubstr("no other"));
  for (const auto* report : {"{", "{}", R"({"install":[5]})", R"({"install":[{"metadata":{"name":5}}]})"}) {
    folder.write(".scratch/report.json", report);
    EXPECT_FALSE(inspect(*parse_package("pypi:dep"), folder.path, "")) << report;
  }
}

TEST(Inspect, reads_console_scripts) {
  EXPECT_THAT(console_scripts("[gui_scripts]\na=b\n[console_scripts]\n c = d:e [x]\nf=g\n../h=i\nno\n[z]\nj=k"),
              ElementsAre("c", "f"));
  EXPECT_TRUE(console_scripts("").empty());
}

TEST(Tree, is_sealed_without_following_links) {
  const Folder folder;
  const Folder outside;
  outside.write("secret", "x");
  folder.write("t/a/file", "x");
  folder.write("t/a/program", "x", true);
  ASSERT_EQ(::symlink((outside.path + "/secret").c_str(), (folder.path + "/t/link").c_str()), 0);
  ASSERT_EQ(::symlink(outside.path.c_str(), (folder.path + "/t/a/dir").c_str()), 0);
  ASSERT_EQ(::chmod((folder.path + "/t/a/program").c_str(), 06777), 0);
  const auto sealed = seal_tree(folder.path + "/t");
  ASSERT_TRUE(sealed) << sealed.error().message;
  EXPECT_EQ(mode_of(folder.path + "/t/a"), 0755U);
  EXPECT_EQ(mode_of(folder.path + "/t/a/file"), 0644U);
  EXPECT_EQ(mode_of(folder.path + "/t/a/program"), 0755U);
  EXPECT_EQ(mode_of(outside.path + "/secret"), 0600U);

  ASSERT_TRUE(remove_tree(folder.path + "/t"));
  EXPECT_FALSE(std::filesystem::exists(folder.path + "/t"));
  EXPECT_TRUE(std::filesystem::exists(outside.path + "/secret"));
  EXPECT_TRUE(remove_tree(folder.path + "/t"));
}

TEST(Tree, keeps_only_generations_that_are_used) {
  const Folder folder;
  folder.write("a/1/x", "");
  folder.write("a/2/x", "");
  folder.write("b/1/x", "");
  ASSERT_TRUE(sweep_generations(folder.path, {folder.path + "/a/2"}));
  EXPECT_FALSE(std::filesystem::exists(folder.path + "/a/1"));
  EXPECT_TRUE(std::filesystem::exists(folder.path + "/a/2/x"));
  EXPECT_FALSE(std::filesystem::exists(folder.path + "/b"));
  EXPECT_TRUE(sweep_generations(folder.path + "/nothing", {}));
}

}  // namespace
}  // namespace hal::install
