#include "base/names.hpp"
#include "base/text.hpp"
#include "worker/container_spec.hpp"
#include "worker/launch.hpp"
#include "worker/naming.hpp"
#include "worker/record.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace hal::worker {
namespace {

Settings settings() {
  Settings settings;
  settings.instance = "test";
  settings.run_dir = "/run/h";
  settings.init_program = "/lib/h/hal9000-init";
  settings.relay_program = "/lib/h/hal9000-mcp";
  return settings;
}

Worker sample() {
  Worker worker;
  worker.id = WorkerId{"0123456789ab"};
  worker.name = "my_project.v2-1a2b3c4d";
  worker.state = State::running;
  worker.owner = 1234;
  worker.workspace = "/srv/my project";
  worker.profile = "base";
  worker.image = "image";
  worker.container = ContainerId{"c0ffee"};
  worker.created_usec = 1'700'000'000'000'000;
  worker.limits = {1 << 30, 0.5, 42};
  worker.command = {"claude", "--continue", "a \"quoted\" word"};
  worker.env = {{"A", "1"}, {"TERM", "dumb"}};
  worker.servers = {"memory-bank"};
  worker.request_id = "r-1";
  worker.exit_code = 137;
  worker.restarts = 3;
  worker.replaced_usec = {1600000000000000, 1600000000000001};
  return worker;
}

TEST(WorkerSpec, HasTheLimitsAndTheHardeningOfTheProduct) {
  const auto spec = worker_spec(settings(), sample(), ContainerId{"holder"}, std::nullopt);
  EXPECT_EQ(spec.memory_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(spec.nano_cpus, 500'000'000U);
  EXPECT_EQ(spec.pids, 42U);
  EXPECT_TRUE(spec.read_only_root);
  EXPECT_EQ(spec.slice, "worker");
  EXPECT_EQ(spec.network, "container:holder");
  EXPECT_TRUE(spec.hostname.empty()) << "a shared network namespace has its holder's";
  EXPECT_TRUE(spec.user.empty()) << "the image's, which is not root";
  EXPECT_EQ(spec.labels.at(names::label_owner), "1234");
  EXPECT_EQ(spec.labels.at(names::label_role), names::role_worker);
  EXPECT_TRUE(spec.env.empty()) << "nothing of a project is in the container's own configuration";
  for (const auto& bind : spec.binds) {
    EXPECT_TRUE(bind.read_only) << bind.target;
    EXPECT_EQ(bind.source.find("project"), std::string::npos);
  }
}

TEST(WorkerSpec, RunsAsTheOwnerWhereIdsAreNotMapped) {
  EXPECT_EQ(worker_spec(settings(), sample(), {}, std::pair<uid_t, gid_t>(1234, 99)).user, "1234:99");
}

TEST(WorkerSpec, IsolatedWorkersShareNoNamespaceAndGetAHostName) {
  auto worker = sample();
  worker.network = Network::isolated;
  const auto spec = worker_spec(settings(), worker, ContainerId{"holder"}, std::nullopt);
  EXPECT_EQ(spec.network, "none");
  EXPECT_EQ(spec.hostname, "my-project-v2-1a2b3c4d");
}

TEST(WorkerSpec, ChromaRunsBesideTheHolderAsTheOwnerOfItsData) {
  const auto spec = chroma_spec(settings(), ContainerId{"holder"}, "/data/chroma", 64, 65);
  EXPECT_EQ(spec.network, "container:holder");
  EXPECT_EQ(spec.user, "64:65");
  EXPECT_EQ(spec.slice, "parent");
  EXPECT_EQ(holder_spec(settings()).slice, "parent");
  EXPECT_EQ(spec.labels.at(label_parent), "holder");
  ASSERT_EQ(spec.binds.size(), 1U);
  EXPECT_FALSE(spec.binds[0].read_only);
}

TEST(WorkerEnvironment, LayersSpawnOverProfileOverTheStandard) {
  const auto env = environment(sample(), {{"A", "2"}});
  EXPECT_NE(std::find(env.begin(), env.end(), "A=2"), env.end());
  EXPECT_NE(std::find(env.begin(), env.end(), "TERM=dumb"), env.end());
  EXPECT_NE(std::find(env.begin(), env.end(), "HOME=/home/claude"), env.end());
  EXPECT_NE(std::find(env.begin(), env.end(), "HAL9000_WORKER=0123456789ab"), env.end());
}

TEST(WorkerNaming, IsTheBaseNameAndEightDigitsOfTheHash) {
  // printf %s /srv/project | sha256sum
  EXPECT_EQ(default_name("/srv/project"), "project-4f3f91f6");
  const std::pair<const char*, const char*> starts[] = {
      {"/", "root-"}, {"/a b/c d", "c-d-"}, {"/x/..hidden", "hidden-"}, {"/x/\xff\xfe", "root-"}, {"/x/-rf", "rf-"}};
  for (const auto& [path, start] : starts) {
    EXPECT_TRUE(default_name(path).starts_with(start)) << path << " -> " << default_name(path);
    EXPECT_TRUE(text::is_name(default_name(path))) << path;
  }
  EXPECT_TRUE(text::is_name(default_name("/" + std::string(4000, 'x'))));
  EXPECT_NE(default_name("/a/p"), default_name("/b/p"));
}

TEST(WorkerImage, IsOursOrNamedByTheProfile) {
  auto with = settings();
  with.profiles["base"].foreign_images = {"busybox", "registry.example/team/*"};
  const std::map<std::string, std::string> ours = {{names::label_image, "worker-minimal"}};
  EXPECT_TRUE(may_use_image(with, "base", "anything", ours));
  EXPECT_TRUE(may_use_image(with, "base", "busybox", {}));
  EXPECT_TRUE(may_use_image(with, "base", "registry.example/team/tools:1", {}));
  EXPECT_TRUE(may_use_image(with, "gone", "anything", ours));
  for (const auto* image : {"busybox:latest", "registry.example/other/tools", ""}) {
    EXPECT_FALSE(may_use_image(with, "base", image, {})) << image;
  }
  const auto refused = may_use_image(with, "gone", "busybox", {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::denied);
  for (const auto* part : {"busybox", "foreign_images", "profile gone", names::label_image}) {
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  }
}

TEST(WorkerRecord, KeepsEverythingADaemonNeedsAfterARestart) {
  const auto read = worker_from_json(to_json(sample()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(to_json(*read), to_json(sample()));
  EXPECT_EQ(read->command, sample().command);
  EXPECT_EQ(read->env, sample().env);
  EXPECT_EQ(read->limits.cpus, 0.5);
  EXPECT_EQ(read->replaced_usec, sample().replaced_usec);
}

TEST(WorkerRecord, RefusesWhatIsIncompleteOrOfAnotherType) {
  std::string wrong_type = to_json(sample());
  wrong_type.replace(wrong_type.find("\"owner\":1234"), 12, "\"owner\":\"12\"");
  std::string wrong_time = to_json(sample());
  wrong_time.replace(wrong_time.find("1600000000000000"), 1, "-");
  std::string wrong_state = to_json(sample());
  wrong_state.replace(wrong_state.find("\"running\""), 9, "\"sleepy!\"");
  for (const auto& text : {std::string(), std::string("{}"), std::string("[1]"), to_json(sample()).substr(1),
                           wrong_type, wrong_time, wrong_state}) {
    EXPECT_FALSE(worker_from_json(text)) << text;
  }
}

}  // namespace
}  // namespace hal::worker
