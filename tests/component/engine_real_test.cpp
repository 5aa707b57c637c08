#include "component/engine_real_support.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace hal::engine {
namespace {

using namespace std::chrono_literals;
using worker::ContainerStatus;

TEST_F(RealEngine, says_who_it_is) {
  const auto& info = client_->info();
  EXPECT_FALSE(info.version.empty());
  EXPECT_TRUE(info.api_version.starts_with("1."));
  EXPECT_TRUE(info.cgroup_driver == "cgroupfs" || info.cgroup_driver == "systemd");
  EXPECT_TRUE(info.cgroup_version == 1 || info.cgroup_version == 2);
  EXPECT_FALSE(info.storage_driver.empty());
}

TEST_F(RealEngine, a_container_lives_from_create_to_remove) {
  const auto wanted = spec("sleep 600");
  const auto id = create(wanted);
  ASSERT_TRUE(id) << id.error().message;
  auto info = inspect(*id);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->status, ContainerStatus::created);
  EXPECT_EQ(info->name, wanted.name);
  EXPECT_EQ(info->image, wanted.image);
  EXPECT_EQ(info->labels.at("org.hal9000.id"), wanted.labels.at("org.hal9000.id"));
  EXPECT_EQ(info->labels.at("org.hal9000.instance"), instance_);
  EXPECT_EQ(info->memory_bytes, wanted.memory_bytes);
  EXPECT_EQ(info->nano_cpus, wanted.nano_cpus);
  EXPECT_EQ(info->pids, wanted.pids);
  EXPECT_EQ(info->pid, 0);

  for (int times = 0; times < 2; ++times) {  // the second time it runs already
    const auto started = await<void>([&](auto done) { client_->start(*id, done); });
    ASSERT_TRUE(started) << started.error().message;
  }
  ASSERT_TRUE(wait_event(Kind::started, *id));
  info = inspect(*id);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->status, ContainerStatus::running);
  EXPECT_TRUE(test::process_runs(info->pid));

  ASSERT_TRUE(await<void>([&](auto done) { client_->kill(*id, "SIGKILL", done); }));
  ASSERT_TRUE(wait_event(Kind::died, *id));
  const auto died = std::ranges::find(recorder_.events, Kind::died, &worker::ContainerEvent::kind);
  EXPECT_EQ(died->exit_code, 137);
  EXPECT_EQ(died->labels.at("org.hal9000.id"), wanted.labels.at("org.hal9000.id"));
  info = inspect(*id);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->status, ContainerStatus::exited);
  EXPECT_EQ(info->exit_code, 137);
  EXPECT_FALSE(info->oom_killed);

  for (int times = 0; times < 2; ++times) {  // the second time it is gone already
    const auto removed = remove(*id);
    EXPECT_TRUE(removed) << removed.error().message;
  }
  EXPECT_TRUE(wait_event(Kind::removed, *id));
  info = inspect(*id);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, Errc::not_found);
}

TEST_F(RealEngine, a_container_is_confined) {
  const test::TempDir dir;
  std::filesystem::create_directory(dir / "ro");
  std::filesystem::create_directory(dir / "rw");
  std::filesystem::permissions(dir / "rw", std::filesystem::perms::all);
  auto wanted = spec(
      "grep -E '^(CapEff|CapBnd|NoNewPrivs|Uid)' /proc/self/status; "
      "touch /x 2>/dev/null && echo root-writable; touch /ro/x 2>/dev/null && echo ro-writable; "
      "touch /rw/made && echo rw-writable; touch /tmp/x && echo tmp-writable; hostname; pwd; echo $WHAT");
  wanted.user = "1000:1000";
  wanted.hostname = "worker-host";
  wanted.working_dir = "/rw";
  wanted.env = {"WHAT=some thing"};
  wanted.tmpfs = {{"/tmp", "rw,nosuid,nodev,mode=1777,size=1m"}};
  wanted.binds = {{dir / "ro", "/ro", true}, {dir / "rw", "/rw", false}};
  const auto id = run(wanted);
  ASSERT_TRUE(wait_event(Kind::died, id));
  const auto text = output(id);
  for (const auto* line : {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Uid:\t1000\t",
                           "rw-writable\n", "tmp-writable\n", "worker-host\n", "/rw\n", "some thing\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << " is missing in\n" << text;
  }
  EXPECT_EQ(text.find("root-writable"), std::string::npos);
  EXPECT_EQ(text.find("ro-writable"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(dir / "rw/made"));
}

TEST_F(RealEngine, exit_codes_arrive_by_event_and_by_inspect) {
  for (const int code : {0, 7, 255}) {
    const auto id = run(spec("exit " + std::to_string(code)));
    ASSERT_TRUE(wait_event(Kind::died, id));
    EXPECT_EQ(std::ranges::find_if(recorder_.events,
                                   [&](const auto& event) { return event.kind == Kind::died && event.id == id; })
                  ->exit_code,
              code);
    const auto info = inspect(id);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->exit_code, code);
    EXPECT_EQ(info->status, ContainerStatus::exited);
  }
}

TEST_F(RealEngine, stop_asks_first_and_then_kills) {
  const auto polite = run(spec("trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done"));
  const auto stubborn = run(spec("trap '' TERM; echo ready; while :; do sleep 0.1; done"));
  for (const auto& id : {polite, stubborn}) {
    ASSERT_TRUE(wait_output(id, "ready\n"));
    for (int times = 0; times < 2; ++times) {  // the second time it has ended already
      const auto stopped = await<void>([&](auto done) { client_->stop(id, 1s, done); });
      EXPECT_TRUE(stopped) << stopped.error().message;
    }
  }
  EXPECT_EQ(inspect(polite)->exit_code, 3);
  EXPECT_EQ(inspect(stubborn)->exit_code, 137);
}

TEST_F(RealEngine, running_out_of_memory_is_told) {
  auto wanted = spec("tail /dev/zero");
  wanted.memory_bytes = std::uint64_t{16} << 20;
  const auto id = run(wanted);
  ASSERT_TRUE(wait_event(Kind::died, id));
  EXPECT_TRUE(wait_event(Kind::out_of_memory, id));
  const auto info = inspect(id);
  ASSERT_TRUE(info);
  EXPECT_TRUE(info->oom_killed);
  EXPECT_EQ(info->exit_code, 137);
}

TEST_F(RealEngine, pauses_and_resumes) {
  const auto id = run(spec("sleep 600"));
  ASSERT_TRUE(await<void>([&](auto done) { client_->pause(id, done); }));
  EXPECT_EQ(inspect(id)->status, ContainerStatus::paused);
  const auto again = await<void>([&](auto done) { client_->pause(id, done); });
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::busy) << again.error().message;
  ASSERT_TRUE(await<void>([&](auto done) { client_->resume(id, done); }));
  EXPECT_EQ(inspect(id)->status, ContainerStatus::running);
  EXPECT_TRUE(wait_event(Kind::paused, id));
  EXPECT_TRUE(wait_event(Kind::resumed, id));
}

TEST_F(RealEngine, limits_change_while_it_runs) {
  const auto id = run(spec("sleep 600"));
  const worker::LimitChange change{
      .memory_bytes = std::uint64_t{96} << 20, .nano_cpus = 1'500'000'000, .pids = std::nullopt};
  const auto changed = await<void>([&](auto done) { client_->update(id, change, done); });
  ASSERT_TRUE(changed) << changed.error().message;
  auto info = inspect(id);
  EXPECT_EQ(info->memory_bytes, std::uint64_t{96} << 20);
  EXPECT_EQ(info->nano_cpus, 1'500'000'000U);
  EXPECT_EQ(info->pids, 50U);
  ASSERT_TRUE(await<void>([&](auto done) { client_->update(id, {.pids = 77}, done); }));
  info = inspect(id);
  EXPECT_EQ(info->pids, 77U);
  EXPECT_EQ(info->memory_bytes, std::uint64_t{96} << 20);

  const auto lifted = await<void>([&](auto done) { client_->update(id, {.memory_bytes = 0}, done); });
  ASSERT_FALSE(lifted);
  EXPECT_EQ(lifted.error().code, Errc::invalid_argument);
}

TEST_F(RealEngine, usage_is_that_of_the_container) {
  const auto id = run(spec("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 600 & echo done; wait"));
  ASSERT_TRUE(wait_output(id, "done\n"));
  const auto usage = await<worker::ContainerUsage>([&](auto done) { client_->usage(id, done); });
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_GT(usage->memory_bytes, 10'000U);
  EXPECT_LT(usage->memory_bytes, std::uint64_t{64} << 20);
  EXPECT_GT(usage->cpu_nanoseconds, 1'000'000U);
  EXPECT_EQ(usage->pids, 2U);  // the shell and its sleep
}

TEST_F(RealEngine, create_again_finds_the_same_container) {
  const auto wanted = spec("sleep 600");
  const auto first = create(wanted);
  const auto second = create(wanted);
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(*first, *second);
  auto other = wanted;
  other.labels["org.hal9000.id"] = "another";
  const auto taken = create(other);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::already_exists) << taken.error().message;
  EXPECT_NE(taken.error().message.find(wanted.name), std::string::npos);
}

TEST_F(RealEngine, what_is_missing_is_named) {
  auto no_image = spec("true");
  no_image.image = "hal9000-test-no-such-image:7";
  const auto image = create(no_image);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, Errc::not_found);
  EXPECT_NE(image.error().message.find(no_image.image), std::string::npos) << image.error().message;

  auto no_source = spec("true");
  no_source.binds = {{"/no/such/folder", "/x", true}};
  const auto source = create(no_source);
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().code, Errc::invalid_argument);
  EXPECT_NE(source.error().message.find("/no/such/folder"), std::string::npos) << source.error().message;

  const ContainerId nobody{"0123456789abcdef"};
  for (const auto& result : {await<void>([&](auto done) { client_->start(nobody, done); }),
                             await<void>([&](auto done) { client_->stop(nobody, 1s, done); }),
                             await<void>([&](auto done) { client_->kill(nobody, "SIGKILL", done); }),
                             await<void>([&](auto done) { client_->update(nobody, {.pids = 5}, done); })}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::not_found) << result.error().message;
    EXPECT_NE(result.error().message.find("0123456789ab"), std::string::npos) << result.error().message;
  }
}

TEST_F(RealEngine, a_command_that_does_not_exist_fails_to_start) {
  auto wanted = spec("");
  wanted.entrypoint = {"/no/such/program"};
  const auto id = create(wanted);
  ASSERT_TRUE(id);
  const auto started = await<void>([&](auto done) { client_->start(*id, done); });
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Errc::invalid_argument) << started.error().message;
  EXPECT_NE(started.error().message.find("/no/such/program"), std::string::npos) << started.error().message;
}

TEST_F(RealEngine, signals_and_their_absence_of_a_target_are_told_apart) {
  const auto id = run(spec("trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done"));
  ASSERT_TRUE(wait_output(id, "ready\n"));
  const auto wrong = await<void>([&](auto done) { client_->kill(id, "SIGNONSENSE", done); });
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::invalid_argument) << wrong.error().message;
  ASSERT_TRUE(await<void>([&](auto done) { client_->kill(id, "SIGUSR1", done); }));
  ASSERT_TRUE(wait_event(Kind::died, id));
  EXPECT_EQ(inspect(id)->exit_code, 9);
  const auto late = await<void>([&](auto done) { client_->kill(id, "SIGKILL", done); });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::busy) << late.error().message;
}

TEST_F(RealEngine, a_container_joins_the_network_of_another) {
  const auto holder = run(spec("sleep 600"));
  auto wanted = spec("sleep 600");
  wanted.network = "container:" + holder.value;
  const auto member = run(wanted);
  const auto inside = [this](const ContainerId& id) {
    return std::filesystem::read_symlink("/proc/" + std::to_string(inspect(id)->pid) + "/ns/net");
  };
  EXPECT_EQ(inside(holder), inside(member));
  wanted.name += "-late";
  wanted.network = "container:0123456789ab";
  const auto orphan = create(wanted);
  const auto started =
      orphan ? await<void>([&](auto done) { client_->start(*orphan, done); }) : Result<void>(orphan.error());
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("0123456789ab"), std::string::npos) << started.error().message;
}

TEST_F(RealEngine, list_gives_ours_with_these_labels_only) {
  const auto first = spec("sleep 600");
  const auto first_id = run(first);
  auto second = spec("exit 4");
  second.labels["org.hal9000.role"] = "parent";
  const auto second_id = run(second);
  ASSERT_TRUE(wait_event(Kind::died, second_id));
  const auto all = await<std::vector<worker::ContainerInfo>>([&](auto done) { client_->list({}, done); });
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->size(), 2U);
  const auto parents = await<std::vector<worker::ContainerInfo>>([&](auto done) {
    client_->list({{"org.hal9000.role", "parent"}}, done);
  });
  ASSERT_TRUE(parents);
  ASSERT_EQ(parents->size(), 1U);
  EXPECT_EQ(parents->front().id, second_id);
  EXPECT_EQ(parents->front().exit_code, 4);
  EXPECT_EQ(parents->front().status, ContainerStatus::exited);
}

TEST_F(RealEngine, what_happens_behind_our_back_is_told) {
  const auto id = run(spec("sleep 600"));
  const auto code = run_program(loop_, {"docker", "-H", "unix://" + socket(), "rm", "-f", id.value});
  ASSERT_TRUE(code) << code.error().message;
  ASSERT_EQ(*code, 0);
  EXPECT_TRUE(wait_event(Kind::died, id));
  EXPECT_TRUE(wait_event(Kind::removed, id));
}

}  // namespace
}  // namespace hal::engine
