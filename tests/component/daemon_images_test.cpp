#include "daemon/images.hpp"
#include "fakes/fake_runtime.hpp"
#include "server/child_launcher.hpp"
#include "support/component.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hal::daemon {
namespace {

using namespace test;
using testing::HasSubstr;

/** Images over an engine in memory and scripts that do nothing, or fail, or hang. */
class ImagesTest : public ::testing::Test {
 protected:
  ImagesTest() {
    settings.profiles["base"].image = "hal9000/worker-minimal";
    settings.profiles["other"].image = "busybox";
    std::filesystem::create_directory(folder / "docker");
  }

  /** What build.sh does where it is not asked what there is. */
  void script(const std::string& build) {
    (void)folder.write(
        "docker/build.sh",
        "#!/bin/sh\n[ \"$1\" != --print ] || { echo parent 1a; echo worker-minimal 2b; exit; }\n" + build, 0755);
  }
  void lose_images() { runtime.fail("inspect_image", {Errc::not_found, "No such image"}); }

  TempDir folder;
  event::Loop loop;
  FakeRuntime runtime{loop};
  worker::Settings settings;
  image::Scripts scripts{loop, std::make_unique<server::ChildLauncher>(loop, "root"),
                         image::Scripts::Options{folder / "docker", folder / "cache", "/no/engine", "1"}};
  std::vector<std::string> jobs;
  worker::OperationHandle job;
  std::optional<Result<void>> ended;
  int completions = 0;
  Images images{{loop, runtime, settings, scripts,
                 [this](const std::string& kind, const Images::Parts::Begin& begin) -> Result<std::uint32_t> {
                   jobs.push_back(kind);
                   ended.reset();
                   job =
                       begin([](double, const std::string&) {}, [this](const Result<void>& result) { ended = result; });
                   return std::uint32_t{7};
                 },
                 [] {}, [this] { ++completions; }}};
};

TEST_F(ImagesTest, WhatIsThereNeedsNoJob) {
  script("exit 1");
  images.look();
  std::optional<Result<std::vector<image::Image>>> listed;
  ASSERT_TRUE(run_until(loop, [&] { return images.may_begin({}).has_value(); })) << "the scripts were not asked";
  images.list([&](Result<std::vector<image::Image>> all) { listed = std::move(all); });
  ASSERT_TRUE(run_until(loop, [&] { return listed.has_value(); }));
  ASSERT_TRUE(*listed);
  std::string told;
  for (const auto& one : **listed) {
    told += one.reference + " " + one.state + " " + one.wanted + ";";
  }
  EXPECT_EQ(told, "busybox current ;hal9000/parent stale 1a;hal9000/worker-minimal stale 2b;");
  EXPECT_TRUE(images.complete() && images.status().empty());
  EXPECT_TRUE(jobs.empty()) << "stale ones are only shown";
}

TEST_F(ImagesTest, WhatIsMissingIsBuiltByAJobThatItBeginsItself) {
  lose_images();
  script(
      "echo \"$*\" >\"$HOME/asked\"; echo '@40 fetches'; read -r nothing; until [ -e \"$HOME/go\" ]; do sleep 0.05; "
      "done");
  images.look();
  ASSERT_TRUE(run_until(loop, [&] { return !images.on_its_way("hal9000/parent").empty(); }));
  ASSERT_TRUE(run_until(loop, [&] { return images.status().find("40 %") != std::string::npos; })) << images.status();
  EXPECT_THAT(images.status(), HasSubstr("missing hal9000/parent, hal9000/worker-minimal: fetches, 40 %"));
  EXPECT_EQ(images.on_its_way("busybox"), "");
  EXPECT_EQ(images.may_begin({}).error().code, Errc::busy);
  images.look();  // one job at a time
  run_ready(loop);
  EXPECT_EQ(jobs, std::vector<std::string>{"build-images"});
  EXPECT_THAT(read_file(folder / "cache/asked"), HasSubstr("--only parent --only worker-minimal"));
  runtime.heal();
  (void)folder.write("cache/go", "");
  ASSERT_TRUE(run_until(loop, [&] { return completions == 1; }));
  EXPECT_TRUE(ended && *ended);
  EXPECT_TRUE(images.complete() && images.status().empty());
}

TEST_F(ImagesTest, AFailureIsToldAndNotTriedAgainAtOnce) {
  lose_images();
  script("echo 'build.sh: the mirror refuses'; exit 1");
  images.look();
  ASSERT_TRUE(run_until(loop, [&] { return ended.has_value(); }));
  EXPECT_FALSE(*ended);
  EXPECT_THAT(images.status(), HasSubstr("the mirror refuses"));
  EXPECT_EQ(images.on_its_way("hal9000/parent"), "");
  images.look();
  run_ready(loop);
  EXPECT_EQ(jobs.size(), 1U);
  EXPECT_TRUE(images.may_begin({"parent"})) << "a user may try";
  runtime.heal();  // it came another way
  images.look();
  ASSERT_TRUE(run_until(loop, [&] { return completions == 1; }));
  EXPECT_TRUE(images.status().empty());
}

TEST_F(ImagesTest, ACancelledJobIsNotBegunAgainAtOnce) {
  lose_images();
  script("sleep 1000");
  images.look();
  ASSERT_TRUE(run_until(loop, [&] { return job != nullptr; }));
  job.reset();
  EXPECT_FALSE(ended);
  EXPECT_THAT(images.status(), HasSubstr("cancelled"));
  images.look();
  ASSERT_TRUE(run_until(
      loop, [&] { return scripts.running() == 0; }, 30s));
  EXPECT_EQ(jobs.size(), 1U);
}

TEST_F(ImagesTest, WhatCannotBeBuiltIsSaid) {
  lose_images();
  images.look();
  ASSERT_TRUE(run_until(loop, [&] { return !images.complete(); }));
  EXPECT_TRUE(jobs.empty());
  EXPECT_EQ(images.status(), "missing hal9000/parent, hal9000/worker-minimal");
  EXPECT_EQ(images.may_begin({}).error().code, Errc::unavailable) << "there are no scripts";
  script("exit 1");
  settings.parent_image = "registry.example/parent";
  settings.profiles["base"].image = "registry.example/worker";
  images.look();
  ASSERT_TRUE(run_until(loop, [&] { return images.may_begin({}).has_value(); }));
  run_ready(loop);
  EXPECT_TRUE(jobs.empty()) << "these are not ours to build";
  const auto unknown = images.may_begin({"parent", "no-such"});
  EXPECT_EQ(unknown.error().code, Errc::not_found);
  EXPECT_THAT(unknown.error().message, HasSubstr("parent, worker-minimal"));
}

}  // namespace
}  // namespace hal::daemon
