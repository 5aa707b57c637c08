#include "worker_pool_support.hpp"

#include <numeric>
#include <set>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using worker::Claim;
using worker::State;

TEST_F(PoolFixture, AWarmWorkerHasNoOwnerNoProjectAndNoRecordOfOne) {
  start();
  for (const auto* worker : registry->all()) {
    EXPECT_EQ(worker->state, State::warm);
    EXPECT_EQ(worker->owner, 0U);
    EXPECT_EQ(worker->workspace, "");
    EXPECT_TRUE(worker->servers.empty());
    EXPECT_EQ(registry->find(0, worker->name), nullptr) << "it is nobody's to find by name";
    const auto& labels = runtime.containers.at(worker->container).labels;
    EXPECT_EQ(labels.at("org.hal9000.generation"), worker->generation);
    EXPECT_EQ(labels.at("org.hal9000.role"), "worker");
  }
  EXPECT_TRUE(binder.opened.empty());
  EXPECT_TRUE(binder.placed.empty());
  EXPECT_EQ(recorder.sockets.size(), 2U);
  EXPECT_EQ(pool->status().reason, "");
}

TEST_F(PoolFixture, AClaimBindsWithoutTheEngineAndThePoolIsRefilled) {
  start();
  const auto before = warm_ids();
  runtime.calls.clear();
  runtime.hold("inspect_image");  // the refill
  const auto id = claim("/srv/project", [](auto& request) {
    request.env = {{"A", "b"}};
    request.command = {"run"};
  });
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(runtime.calls.size(), count("inspect_image")) << "a claim went through the engine";
  const auto* worker = registry->find(*id);
  EXPECT_EQ(*id, before.at(0)) << "the oldest first";
  EXPECT_EQ(worker->state, State::running);
  EXPECT_EQ(worker->owner, 1234U);
  EXPECT_EQ(worker->workspace, "/srv/project");
  EXPECT_EQ(worker->name, "project-4f3f91f6");
  EXPECT_EQ(worker->servers, std::vector<std::string>{"memory-bank"});
  EXPECT_EQ(binder.opened, (std::vector<std::string>{"/srv/project", settings.state_dir + "/user/1234"}));
  ASSERT_EQ(binder.placed.size(), 2U);
  ASSERT_EQ(recorder.claimed.size(), 1U);
  EXPECT_EQ(recorder.claimed[0].servers, std::vector<std::string>{"memory-bank"});
  const auto& requests = inits.at(0)->requests;
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].argv.back(), "configure");
  EXPECT_EQ(requests[1].argv, std::vector<std::string>{"run"});
  EXPECT_NE(std::find(requests[1].env.begin(), requests[1].env.end(), "A=b"), requests[1].env.end());
  EXPECT_NE(std::find(requests[1].env.begin(), requests[1].env.end(), "HAL9000_WORKER=" + id->value),
            requests[1].env.end());
  runtime.release("inspect_image");
  until_warm(2);
  EXPECT_EQ(warm_ids().size(), 2U);
  EXPECT_EQ(pool->status().hits, 1U);
  EXPECT_EQ(pool->status().claimed, 1U);
}

TEST_F(PoolFixture, ClaimsAtTheSameTimeGetWorkersOfTheirOwn) {
  settings.pool = {.min = 5, .max = 5, .idle_timeout = 300s};
  start(5);
  std::vector<Result<WorkerId>> answers;
  const auto open_calls = std::make_shared<int>();
  for (int i = 0; i < 8; ++i) {
    worker::SpawnRequest request;
    request.owner = 1234;
    request.workspace = "/srv/p" + std::to_string(i);
    request.claim = i < 6 ? Claim::require : Claim::prefer;
    registry->spawn(std::move(request),
                    [&answers, open_calls](Result<WorkerId> result) { answers.push_back(std::move(result)); });
  }
  ASSERT_TRUE(run_until(loop, [&] { return answers.size() == 8; }));
  run_ready(loop);
  EXPECT_EQ(open_calls.use_count(), 1) << "a call that was answered is kept";
  std::set<WorkerId> ids;
  std::size_t claimed = 0;
  std::size_t cold = 0;
  for (const auto& answer : answers) {
    if (answer) {
      EXPECT_TRUE(ids.insert(*answer).second) << "one worker for two claims";
      EXPECT_EQ(registry->find(*answer)->state, State::running);
      ++(registry->find(*answer)->generation.empty() ? cold : claimed);
    } else {
      EXPECT_EQ(answer.error().code, Errc::unavailable);
    }
  }
  EXPECT_EQ(claimed, 5U);
  EXPECT_LE(cold, 2U) << "made for one that requires a warm one";
  EXPECT_GE(answers.size() - claimed - cold, 1U);
  EXPECT_EQ(pool->status().hits, 5U);
  const auto times = pool->status().claim_times.counts;
  EXPECT_EQ(std::accumulate(times.begin(), times.end(), std::uint64_t{0}), 5U);
  EXPECT_EQ(pool->status().misses, 3U);
  until_warm(5);
}

TEST_F(PoolFixture, OptionsAWarmWorkerCannotHaveAreACold) {
  start();
  settings.profiles["other"] = {"image", {"claude"}, {}, {}};
  const std::pair<std::function<void(worker::SpawnRequest&)>, const char*> unfit[] = {
      {[](auto& r) { r.image = "another"; }, "another"},
      {[](auto& r) { r.profile = "other"; }, "other"},
      {[](auto& r) { r.network = worker::Network::isolated; }, "isolated"},
  };
  int serial = 0;
  for (const auto& [edit, text] : unfit) {
    const auto path = "/srv/p" + std::to_string(serial++);
    const auto required = claim(path, edit);
    ASSERT_FALSE(required);
    EXPECT_EQ(required.error().code, Errc::unavailable);
    EXPECT_NE(required.error().message.find(text), std::string::npos) << required.error().message;
    const auto preferred = spawn(path, edit);
    ASSERT_TRUE(preferred) << preferred.error().message;
    EXPECT_EQ(registry->find(*preferred)->generation, "");
  }
  const auto never = spawn("/srv/never", [](auto& request) { request.claim = Claim::never; });
  ASSERT_TRUE(never);
  EXPECT_EQ(registry->find(*never)->generation, "");
  EXPECT_EQ(pool->status().hits + pool->status().misses, 0U);
  EXPECT_EQ(warm_ids().size(), 2U);
}

TEST_F(PoolFixture, WithoutMappedIdsAWarmWorkerIsOfNoUse) {
  start();
  binder.mapped = false;
  const auto required = claim("/srv/project");
  ASSERT_FALSE(required);
  EXPECT_EQ(required.error().code, Errc::unavailable);
  EXPECT_NE(required.error().message.find("/srv/project"), std::string::npos);
  const auto preferred = spawn("/srv/project");
  ASSERT_TRUE(preferred);
  EXPECT_EQ(runtime.specs.at(registry->find(*preferred)->container).user, "1234:77");
  EXPECT_EQ(warm_ids().size(), 2U);
}

TEST_F(PoolFixture, LimitsThatDifferAreSetAtTheClaim) {
  start();
  const auto id = claim("/srv/project", [](auto& request) { request.memory_bytes = std::uint64_t{64} << 20; });
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(runtime.containers.at(registry->find(*id)->container).memory_bytes, std::uint64_t{64} << 20);
  runtime.fail("update", {Errc::internal, "no cgroup"});
  const auto failed = claim("/srv/other", [](auto& request) { request.pids = 7; });
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("limits"), std::string::npos) << failed.error().message;
}

TEST_F(PoolFixture, ARepeatedRequestIdClaimsOnce) {
  start();
  const auto with_id = [](auto& request) { request.request_id = "r1"; };
  const auto first = claim("/srv/project", with_id);
  const auto again = claim("/srv/project", with_id);
  ASSERT_TRUE(first && again);
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(pool->status().hits, 1U);
}

struct BindFault {
  const char* name;
  std::function<void(PoolFixture&)> arrange;
  const char* text;
};
class ClaimFault : public PoolFixture, public ::testing::WithParamInterface<BindFault> {};

/** A worker that has been touched is never warm again: it goes with the claim that failed, and nothing is left of it.
 */
TEST_P(ClaimFault, RemovesTheWorkerItHadTaken) {
  start();
  const auto taken = warm_ids().at(0);
  const auto container = registry->find(taken)->container;
  GetParam().arrange(*this);
  const auto id = claim("/srv/project");
  ASSERT_FALSE(id);
  EXPECT_NE(id.error().message.find(GetParam().text), std::string::npos) << id.error().message;
  EXPECT_EQ(registry->find(taken), nullptr);
  EXPECT_FALSE(runtime.containers.contains(container));
  EXPECT_FALSE(folder_exists(taken));
  EXPECT_EQ(pool->status().claimed, 0U);
  until_warm(2);
}

INSTANTIATE_TEST_SUITE_P(All, ClaimFault,
                         ::testing::Values(BindFault{"MountFails",
                                                     [](PoolFixture& f) {
                                                       f.binder.place_result = Error{Errc::internal, "move_mount: no"};
                                                     },
                                                     "move_mount"},
                                           BindFault{"CommandMissing",
                                                     [](PoolFixture& f) {
                                                       for (auto& init : f.inits) {
                                                         init->failures["claude"] = ENOENT;
                                                       }
                                                     },
                                                     "start claude"},
                                           BindFault{"RecordImpossible",
                                                     [](PoolFixture& f) {
                                                       // The old record can be removed, the new one not be written over
                                                       // a folder.
                                                       const auto id = f.warm_ids().at(0).value;
                                                       const auto path =
                                                           f.settings.state_dir + "/worker/" + id + ".json.new";
                                                       ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
                                                     },
                                                     "json"}),
                         [](const auto& fault) { return fault.param.name; });

TEST_F(PoolFixture, AFailedOpenTakesNoWorker) {
  start();
  binder.open_errors["/srv/gone"] = Error{Errc::not_found, "/srv/gone: there is no such directory"};
  const auto id = claim("/srv/gone");
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().code, Errc::not_found);
  const auto first = claim("/srv/project");
  ASSERT_TRUE(first);
  const auto second = claim("/srv/project");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::already_exists) << "a name in use";
  EXPECT_EQ(pool->status().hits, 1U);
}

TEST_F(PoolFixture, RemovedInTheMiddleOfAClaim) {
  start();
  const auto taken = warm_ids().at(0);
  std::optional<Result<WorkerId>> answer;
  worker::SpawnRequest request;
  request.owner = 1234;
  request.workspace = "/srv/project";
  request.claim = Claim::require;
  registry->spawn(std::move(request), [&answer](Result<WorkerId> result) { answer = std::move(result); });
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(taken)->state == State::creating; }));
  ASSERT_TRUE(wait([&](Done<void> done) { registry->remove(taken, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code, Errc::cancelled);
  EXPECT_EQ(registry->find(taken), nullptr);
  until_warm(2);
}

/** A claim that meets warm workers whose PID 1 is stopped, or whose container hangs. */
struct UnansweredClaim : public PoolFixture {
  void begin(const std::string& path, Claim how, const std::function<void(worker::SpawnRequest&)>& edit = {}) {
    worker::SpawnRequest request;
    request.owner = 1234;
    request.workspace = path;
    request.claim = how;
    if (edit) {
      edit(request);
    }
    registry->spawn(std::move(request), [this](Result<WorkerId> result) { answers.push_back(std::move(result)); });
  }
  /** Far less than a program has to start. */
  [[nodiscard]] bool answered(std::size_t count = 1) {
    return run_until(
        loop, [&] { return answers.size() == count; }, 8s);
  }
  [[nodiscard]] std::size_t commands_started() const {
    std::size_t count = 0;
    for (const auto& init : inits) {
      for (const auto& request : init->requests) {
        count += request.kind == init::RequestKind::main ? 1U : 0U;
      }
    }
    return count;
  }
  [[nodiscard]] bool asked(std::size_t init) {
    return run_until(loop, [&] { return inits.at(init)->unanswered > 0; });
  }

  std::vector<Result<WorkerId>> answers;
};

TEST_F(UnansweredClaim, TakesTheNextWarmWorker) {
  start();
  const auto before = warm_ids();
  const auto hung = registry->find(before.at(0))->container;
  inits.at(0)->mute = true;
  ::testing::internal::CaptureStderr();
  begin("/srv/project", Claim::require);
  const bool in_time = answered();
  const auto log = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(in_time);
  ASSERT_TRUE(answers.at(0)) << answers.at(0).error().message;
  EXPECT_EQ(*answers.at(0), before.at(1));
  EXPECT_NE(log.find("warm worker " + before.at(0).value + " is removed: its hal9000-init does not answer"),
            std::string::npos)
      << log;
  EXPECT_EQ(registry->find(before.at(0)), nullptr);
  EXPECT_FALSE(runtime.containers.contains(hung));
  EXPECT_FALSE(folder_exists(before.at(0)));
  EXPECT_EQ(commands_started(), 1U);
  EXPECT_EQ(binder.placed.size(), 2U) << "the project went into a container that is given up";
  EXPECT_EQ(pool->status().hits, 1U);
  until_warm(2);
}

TEST_F(UnansweredClaim, IsServedColdOrToldWhereNoneAnswers) {
  start();
  for (auto& init : inits) {
    init->mute = true;
  }
  runtime.hold("inspect_image");  // nothing is refilled
  begin("/srv/required", Claim::require);
  begin("/srv/preferred", Claim::prefer);
  ASSERT_TRUE(answered(2));
  for (const auto& answer : answers) {
    if (answer) {
      EXPECT_EQ(registry->find(*answer)->workspace, "/srv/preferred");
      EXPECT_EQ(registry->find(*answer)->generation, "") << "a cold one";
    } else {
      EXPECT_EQ(answer.error().code, Errc::unavailable) << answer.error().message;
    }
  }
  EXPECT_EQ(runtime.containers.size(), 1U);
  EXPECT_EQ(commands_started(), 1U);
  EXPECT_EQ(pool->status().misses, 2U);
}

TEST_F(UnansweredClaim, FindsAllThatHangAtOnce) {
  settings.pool = {.min = 5, .max = 5, .idle_timeout = 300s};
  start(5);
  for (std::size_t i = 0; i < 4; ++i) {
    inits.at(i)->mute = true;
  }
  const auto last = warm_ids().at(4);
  runtime.hold("inspect_image");  // nothing is refilled
  begin("/srv/project", Claim::require);
  ASSERT_TRUE(asked(0));
  EXPECT_EQ(inits.at(1)->unanswered, 0U);
  ASSERT_TRUE(asked(3)) << "they are asked one after the other";
  EXPECT_EQ(registry->stock().size(), 3U) << "one was given up, the next is the claim's";
  ASSERT_TRUE(answered());
  EXPECT_EQ(*answers.at(0), last);
}

TEST_F(UnansweredClaim, GoesOnWhenItsWorkerGoes) {
  start();
  const auto before = warm_ids();
  inits.at(0)->mute = true;
  begin("/srv/project", Claim::require);
  ASSERT_TRUE(asked(0));
  EXPECT_EQ(registry->stock().size(), 1U) << "one that is reserved is nobody else's";
  EXPECT_EQ(registry->claiming(), 1U);
  runtime.die(registry->find(before.at(0))->container, 137);
  ASSERT_TRUE(answered());
  ASSERT_TRUE(answers.at(0)) << answers.at(0).error().message;
  EXPECT_EQ(*answers.at(0), before.at(1));
}

TEST_F(UnansweredClaim, IsNotRetiredUnderTheClaim) {
  start();
  const auto first = warm_ids().at(0);
  inits.at(0)->mute = true;
  begin("/srv/project", Claim::require);
  ASSERT_TRUE(asked(0));
  const auto retired = wait([&](Done<void> done) { registry->retire(first, "test", std::move(done)); });
  ASSERT_FALSE(retired);
  EXPECT_EQ(retired.error().code, Errc::not_found);
  inits.at(0)->answer_late();
  ASSERT_TRUE(answered());
  ASSERT_TRUE(answers.at(0)) << answers.at(0).error().message;
  EXPECT_EQ(*answers.at(0), first);
}

TEST_F(UnansweredClaim, ANameIsOneClaimsOnlyAndTheOthersWorkerStaysWarm) {
  start();
  const auto named = [](auto& request) { request.name = "same"; };
  begin("/srv/a", Claim::require, named);
  begin("/srv/b", Claim::require, named);
  ASSERT_TRUE(answered(2));
  ASSERT_NE(static_cast<bool>(answers.at(0)), static_cast<bool>(answers.at(1)));
  const auto& refused = answers.at(0) ? answers.at(1) : answers.at(0);
  EXPECT_EQ(refused.error().code, Errc::already_exists);
  EXPECT_EQ(pool->status().hits, 1U);
  EXPECT_EQ(registry->stock().size(), 1U);
  until_warm(2);
}

TEST_F(UnansweredClaim, ARepeatedRequestIdGetsTheWorkerThatIsTaken) {
  start();
  const auto repeated = [](auto& request) {
    request.request_id = "r1";
    request.wait = false;
  };
  begin("/srv/project", Claim::require, repeated);
  begin("/srv/project", Claim::require, repeated);
  ASSERT_TRUE(answered(2));
  ASSERT_TRUE(answers.at(0) && answers.at(1));
  EXPECT_EQ(*answers.at(0), *answers.at(1));
  EXPECT_NE(registry->find(*answers.at(0)), nullptr);
}

}  // namespace
}  // namespace hal::test
