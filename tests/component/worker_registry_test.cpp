#include "worker/claude_session.hpp"
#include "worker_support.hpp"

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using worker::State;

TEST_F(RegistryFixture, SpawnRunsTheCommandInTheProject) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id) << id.error().message;
  const auto* worker = registry->find(*id);
  ASSERT_NE(worker, nullptr);
  EXPECT_EQ(worker->state, State::running);
  EXPECT_EQ(worker->name, "project-4f3f91f6");
  EXPECT_EQ(registry->find(1234, "project-4f3f91f6"), worker);
  EXPECT_EQ(registry->find(1, "project-4f3f91f6"), nullptr);
  ASSERT_EQ(binder.placed.size(), 2U);
  EXPECT_EQ(binder.placed[0].second, "/workspace");
  EXPECT_EQ(binder.placed[1].second, "/home/claude");
  ASSERT_EQ(inits.at(0)->requests.size(), 2U);
  EXPECT_EQ(inits[0]->requests[0].argv, (std::vector<std::string>{"/usr/local/bin/hal9000-mcp", "configure"}));
  EXPECT_EQ(inits[0]->requests[1].kind, init::RequestKind::main);
  EXPECT_EQ(inits[0]->requests[1].argv, worker::session_command(*worker, false));
  EXPECT_EQ(inits[0]->requests[1].cwd, "/workspace");
  EXPECT_EQ(recorder.sockets.size(), 1U);
}

struct Fault {
  const char* name;
  std::function<void(RegistryFixture&)> arrange;
  Errc code;
  const char* text;
};

class SpawnFault : public RegistryFixture, public ::testing::WithParamInterface<Fault> {};

/** Whatever fails, the caller hears what and where, and nothing is left. */
TEST_P(SpawnFault, LeavesNothingBehind) {
  GetParam().arrange(*this);
  const auto fds_before = open_fds();
  const auto id = spawn("/srv/project");
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().code, GetParam().code) << id.error().message;
  EXPECT_NE(id.error().message.find(GetParam().text), std::string::npos) << id.error().message;
  EXPECT_TRUE(registry->all().empty());
  EXPECT_TRUE(runtime.containers.empty());
  run_ready(loop);
  inits.clear();
  recorder.sockets.clear();
  EXPECT_EQ(open_fds(), fds_before);
  EXPECT_EQ(::rmdir((settings.run_dir + "/worker").c_str()), 0) << "a folder was left";
  EXPECT_EQ(::rmdir((settings.state_dir + "/worker").c_str()), 0) << "a record was left";
}

INSTANTIATE_TEST_SUITE_P(
    All, SpawnFault,
    ::testing::Values(
        Fault{"EngineAway", [](RegistryFixture& f) { f.runtime.go_down(); }, Errc::unavailable, "engine"},
        Fault{"ForeignImage", [](RegistryFixture& f) { f.runtime.image_labels.clear(); }, Errc::denied,
              "foreign_images"},
        Fault{"ParentAway", [](RegistryFixture& f) { f.parent = {}; }, Errc::unavailable, "parent"},
        Fault{"WorkspaceMissing",
              [](RegistryFixture& f) {
                f.binder.open_errors["/srv/project"] = Error{Errc::not_found, "/srv/project: no such directory"};
              },
              Errc::not_found, "workspace: /srv/project"},
        Fault{"HomeUnusable",
              [](RegistryFixture& f) {
                f.binder.open_errors[f.settings.state_dir + "/user/1234"] = Error{Errc::denied, "home"};
              },
              Errc::denied, "home"},
        Fault{"ImageAbsent",
              [](RegistryFixture& f) {
                f.runtime.fail("create", {Errc::not_found, "no image \"image\""});
              },
              Errc::not_found, "image"},
        Fault{"StartFails",
              [](RegistryFixture& f) {
                f.runtime.fail("start", {Errc::internal, "no cgroup"});
              },
              Errc::internal, "start the container"},
        Fault{"InspectFails",
              [](RegistryFixture& f) {
                f.runtime.fail("inspect", {Errc::timed_out, "slow"});
              },
              Errc::timed_out, "inspect"},
        Fault{"MountFails",
              [](RegistryFixture& f) {
                f.binder.place_result = Error{Errc::internal, "move_mount: no"};
              },
              Errc::internal, "move_mount"},
        Fault{"CommandMissing", [](RegistryFixture& f) { f.init_failures["claude"] = ENOENT; }, Errc::not_found,
              "start claude"}),
    [](const auto& fault) { return fault.param.name; });

/** As on a full disk. */
TEST_F(RegistryFixture, AWorkerThatCannotBeRecordedIsNotMade) {
  const auto records = settings.state_dir + "/worker";
  ASSERT_EQ(::rmdir(records.c_str()), 0);
  const auto id = spawn("/srv/project");
  ASSERT_FALSE(id);
  EXPECT_NE(id.error().message.find(records), std::string::npos) << id.error().message;
  EXPECT_TRUE(registry->all().empty());
  EXPECT_TRUE(runtime.containers.empty());
}

TEST_F(RegistryFixture, RefusesBadRequestsByName) {
  const std::pair<std::function<void(worker::SpawnRequest&)>, const char*> bad[] = {
      {[](auto& r) { r.profile = "nonesuch"; }, "nonesuch"},
      {[](auto& r) { r.name = "-rf"; }, "-rf"},
      {[](auto& r) { r.name = std::string(65, 'a'); }, "name"},
      {[](auto& r) {
         r.servers = {{"memory-bank", "other"}};
       },
       "other"},
  };
  for (const auto& [edit, text] : bad) {
    const auto id = spawn("/srv/project", edit);
    ASSERT_FALSE(id);
    EXPECT_EQ(id.error().code, Errc::invalid_argument);
    EXPECT_NE(id.error().message.find(text), std::string::npos) << id.error().message;
  }
  EXPECT_TRUE(runtime.calls.empty()) << "the engine was bothered";
}

TEST_F(RegistryFixture, ANameInUseIsRefusedAndOneOfTheDeadIsTakenOver) {
  const auto first = spawn("/srv/project");
  ASSERT_TRUE(first);
  const auto second = spawn("/srv/project");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::already_exists);
  EXPECT_NE(second.error().message.find(first->value), std::string::npos);
  EXPECT_EQ(registry->find(*first)->state, State::running) << "the first must not be disturbed";
  EXPECT_EQ(runtime.containers.size(), 1U);

  runtime.die(registry->find(*first)->container, 0);
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*first)->state == State::exited; }));
  const auto third = spawn("/srv/project");
  ASSERT_TRUE(third) << third.error().message;
  EXPECT_EQ(registry->find(*first), nullptr);
}

TEST_F(RegistryFixture, ARepeatedRequestIdGetsTheSameWorker) {
  const auto with_id = [](worker::SpawnRequest& request) { request.request_id = "r1"; };
  const auto first = spawn("/srv/project", with_id);
  const auto again = spawn("/srv/project", with_id);
  ASSERT_TRUE(first);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(runtime.containers.size(), 1U);
  const auto other_user = spawn("/srv/project", [](worker::SpawnRequest& request) {
    request.request_id = "r1";
    request.owner = 1;
  });
  ASSERT_TRUE(other_user);
  EXPECT_NE(*other_user, *first);
}

TEST_F(RegistryFixture, WithoutWaitTheAnswerComesEarlyAndAFailureStaysVisible) {
  runtime.fail("start", {Errc::internal, "no cgroup"});
  const auto id = spawn("/srv/project", [](worker::SpawnRequest& request) { request.wait = false; });
  ASSERT_TRUE(id);
  EXPECT_EQ(registry->find(*id)->state, State::creating);
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->state == State::failed; }));
  EXPECT_NE(registry->find(*id)->reason.find("no cgroup"), std::string::npos);
  EXPECT_FALSE(folder_exists(*id));
  restart_daemon();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  ASSERT_NE(registry->find(*id), nullptr) << "who was answered can still ask";
  EXPECT_NE(registry->find(*id)->reason.find("no cgroup"), std::string::npos);
}

TEST_F(RegistryFixture, StatesFollowWhatBecomesOfTheContainer) {
  struct Case {
    std::function<void(const ContainerId&)> happen;
    State state;
    int exit_code;
    const char* reason;
  };
  const Case cases[] = {
      {[this](const ContainerId& id) { runtime.die(id, 3); }, State::exited, 3, "code 3"},
      {[this](const ContainerId& id) { runtime.die(id, 143); }, State::exited, 143, "code 143"},
      {[this](const ContainerId& id) { runtime.die(id, 137, true); }, State::exited, 137, "out of memory"},
      {[this](const ContainerId& id) { runtime.vanish(id); }, State::failed, 0, "removed from outside"},
  };
  settings.profiles["base"].restart_on_failure = false;
  int serial = 0;
  for (const auto& one : cases) {
    const auto id = spawn("/srv/p" + std::to_string(serial++));
    ASSERT_TRUE(id);
    const ContainerId container = registry->find(*id)->container;
    one.happen(container);
    ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->state == one.state; })) << one.reason;
    EXPECT_EQ(registry->find(*id)->exit_code, one.exit_code);
    EXPECT_NE(registry->find(*id)->reason.find(one.reason), std::string::npos) << registry->find(*id)->reason;
    EXPECT_EQ(registry->find(*id)->pid, 0);
    EXPECT_FALSE(folder_exists(*id));
  }
  EXPECT_NE(std::find(recorder.events.begin(), recorder.events.end(), "limit memory"), recorder.events.end());
}

TEST_F(RegistryFixture, ARestartedDaemonTakesUpWhatRunsAndRemovesWhatNobodyKnows) {
  settings.profiles["base"].restart_on_failure = false;
  const auto running = spawn("/srv/a");
  const auto dead = spawn("/srv/b");
  const auto lost = spawn("/srv/c");
  ASSERT_TRUE(running && dead && lost);
  const auto dead_container = registry->find(*dead)->container;
  const auto lost_container = registry->find(*lost)->container;
  registry.reset();  // the daemon dies; things happen while it is away
  runtime.set_listener(nullptr);
  runtime.die(dead_container, 5);
  runtime.vanish(lost_container);
  worker::ContainerSpec stray;
  stray.labels = {{"org.hal9000.role", "worker"}, {"org.hal9000.id", "ffffffffffff"}};
  runtime.create(stray, [](const Result<ContainerId>&) {});
  run_ready(loop);

  restart_daemon();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  ASSERT_EQ(registry->all().size(), 3U);
  EXPECT_EQ(registry->find(*running)->state, State::running);
  EXPECT_EQ(registry->find(*running)->workspace, "/srv/a");
  EXPECT_EQ(registry->find(*dead)->state, State::exited);
  EXPECT_EQ(registry->find(*dead)->exit_code, 5);
  EXPECT_EQ(registry->find(*lost)->state, State::failed);
  ASSERT_TRUE(run_until(loop, [this] { return runtime.containers.size() == 2; }))
      << "the stray container is still there";

  // Its init connects to the new daemon's socket; then programs can be started again.
  FakeInit init(loop, settings.run_dir + "/worker/" + running->value + "/control.sock");
  run_ready(loop);
  std::optional<Result<int>> code;
  worker::ExecRequest request;
  request.argv = {"true"};
  registry->exec(*running, std::move(request), [&](Result<worker::Stream> stream) {
    ASSERT_TRUE(stream) << stream.error().message;
    registry->wait_exec(*running, stream->id, [&](Result<int> result) { code = std::move(result); });
  });
  ASSERT_TRUE(run_until(loop, [&] { return code.has_value(); }));
  EXPECT_EQ(code->value_or(-1), 0);
}

TEST_F(RegistryFixture, RemoveWhileBeingMadeLeavesNothing) {
  runtime.hold("start");
  std::optional<Result<WorkerId>> answer;
  worker::SpawnRequest request;
  request.workspace = "/srv/project";
  registry->spawn(std::move(request), [&](Result<WorkerId> result) { answer = std::move(result); });
  ASSERT_TRUE(run_until(loop, [this] { return !runtime.calls.empty() && runtime.calls.back() == "start"; }));
  const WorkerId id = registry->all().at(0)->id;
  ASSERT_TRUE(wait([&](Done<void> done) { registry->remove(id, std::move(done)); }));
  runtime.release("start");
  ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
  EXPECT_EQ(answer->error().code, Errc::cancelled);
  EXPECT_TRUE(registry->all().empty());
  EXPECT_TRUE(runtime.containers.empty());
}

TEST_F(RegistryFixture, RestartKeepsIdProjectAndCommandInANewContainer) {
  const auto id = spawn("/srv/project", [](worker::SpawnRequest& r) { r.command = {"claude", "--continue"}; });
  ASSERT_TRUE(id);
  const ContainerId before = registry->find(*id)->container;
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
  EXPECT_EQ(registry->find(*id)->state, State::running);
  EXPECT_NE(registry->find(*id)->container, before);
  EXPECT_EQ(registry->find(*id)->restarts, 1U);
  EXPECT_EQ(inits.back()->requests.back().argv, (std::vector<std::string>{"claude", "--continue"}));
  EXPECT_EQ(runtime.containers.size(), 1U);
}

TEST_F(RegistryFixture, ARestartThatCannotRemoveTheOldContainerKeepsTheWorker) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  const ContainerId before = registry->find(*id)->container;
  runtime.fail("remove", {Errc::internal, "device busy"});
  const auto result = wait([&](Done<void> done) { registry->restart(*id, std::move(done)); });
  ASSERT_FALSE(result);
  EXPECT_EQ(registry->find(*id)->state, State::running);
  EXPECT_EQ(registry->find(*id)->container, before);
  // It still starts programs.
  std::optional<bool> started;
  worker::ExecRequest request;
  request.argv = {"true"};
  registry->exec(*id, std::move(request), [&](const Result<worker::Stream>& stream) { started = stream.has_value(); });
  ASSERT_TRUE(run_until(loop, [&] { return started.has_value(); }));
  EXPECT_TRUE(*started);
}

TEST_F(RegistryFixture, AWorkerIsRestartedOnceAtATime) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  std::optional<Result<void>> first;
  registry->restart(*id, [&](Result<void> result) { first = std::move(result); });
  const auto second = wait([&](Done<void> done) { registry->restart(*id, std::move(done)); });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  ASSERT_TRUE(run_until(loop, [&] { return first.has_value(); }));
  EXPECT_TRUE(*first);
  EXPECT_EQ(runtime.containers.size(), 1U);
}

TEST_F(RegistryFixture, AnIsolatedWorkersCommandFindsItsNetworkAsItShallBe) {
  for (const auto& made : {Result<void>(), Result<void>(Error{Errc::busy, "127.0.0.1:9000 is in use there"})}) {
    recorder.hold_networks = true;
    recorder.network_made = nullptr;
    std::optional<Result<WorkerId>> answer;
    worker::SpawnRequest request;
    request.workspace = "/srv/alone";
    request.network = worker::Network::isolated;
    registry->spawn(std::move(request), [&answer](Result<WorkerId> result) { answer = std::move(result); });
    ASSERT_TRUE(run_until(loop, [this] { return recorder.network_made != nullptr; }));
    run_ready(loop);
    EXPECT_TRUE(inits.back()->requests.empty()) << "the command was started already";
    recorder.network_made(made);
    ASSERT_TRUE(run_until(loop, [&answer] { return answer.has_value(); }));
    ASSERT_TRUE(*answer) << answer->error().message;
    EXPECT_EQ(registry->find(**answer)->pid, recorder.networks.back());
    ASSERT_TRUE(wait([&](Done<void> done) { registry->remove(**answer, std::move(done)); }));
  }
  ASSERT_TRUE(spawn("/srv/shared"));
  EXPECT_EQ(recorder.networks.size(), 2U) << "the parent's network is not a worker's";
}

TEST_F(RegistryFixture, AReplacedParentIsToldByTheReasonUntilTheRestart) {
  const auto id = spawn("/srv/project");
  const auto alone = spawn("/srv/alone", [](worker::SpawnRequest& r) { r.network = worker::Network::isolated; });
  ASSERT_TRUE(id && alone);
  registry->on_parent_replaced();
  EXPECT_EQ(registry->find(*id)->reason, "") << "a parent that is the same as before";
  recorder.events.clear();

  in_parent_network = false;
  registry->on_parent_replaced();
  EXPECT_NE(registry->find(*id)->reason.find("replaced"), std::string::npos) << registry->find(*id)->reason;
  EXPECT_EQ(registry->find(*id)->state, State::running) << "it goes on";
  EXPECT_EQ(recorder.events, std::vector<std::string>{"changed running"});
  EXPECT_EQ(registry->find(*alone)->reason, "");

  // A later look at the container does not forget it, nor does a restart of the daemon.
  ASSERT_TRUE(wait([&](Done<void> done) { registry->pause(*id, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->reason == "paused"; }));
  ASSERT_TRUE(wait([&](Done<void> done) { registry->resume(*id, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->reason.find("replaced") != std::string::npos; }));
  restart_daemon();
  ASSERT_TRUE(wait([this](Done<void> done) { registry->reconcile(std::move(done)); }));
  EXPECT_NE(registry->find(*id)->reason.find("replaced"), std::string::npos) << registry->find(*id)->reason;

  in_parent_network = true;  // its new container joins the new parent
  ASSERT_TRUE(wait([&](Done<void> done) { registry->restart(*id, std::move(done)); }));
  EXPECT_EQ(registry->find(*id)->reason, "");
}

TEST_F(RegistryFixture, TheEndOfTheCommandIsTheReasonWhateverWasSaidBefore) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  in_parent_network = false;
  registry->on_parent_replaced();
  runtime.die(registry->find(*id)->container, 3);
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->state == State::exited; }));
  EXPECT_NE(registry->find(*id)->reason.find("code 3"), std::string::npos) << registry->find(*id)->reason;
}

TEST_F(RegistryFixture, CallsInTheWrongStateSayWhichStateItIs) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  runtime.die(registry->find(*id)->container, 1);
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->state == State::exited; }));
  const auto stopped = wait([&](Done<void> done) { registry->stop(*id, 1s, std::move(done)); });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Errc::busy);
  EXPECT_NE(stopped.error().message.find("exited"), std::string::npos);
  const auto unknown = wait([&](Done<void> done) { registry->stop(WorkerId{"nonesuch"}, 1s, std::move(done)); });
  EXPECT_EQ(unknown.error().code, Errc::not_found);
}

TEST_F(RegistryFixture, APausedWorkerStartsNoProgramsUntilItIsResumed) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  const auto start = [&]() -> Result<void> {
    return wait([&](Done<void> done) {
      worker::ExecRequest request;
      request.argv = {"true"};
      registry->exec(*id, std::move(request), [done = std::move(done)](const Result<worker::Stream>& stream) {
        done(stream ? Result<void>() : Result<void>(stream.error()));
      });
    });
  };
  ASSERT_TRUE(wait([&](Done<void> done) { registry->pause(*id, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->reason == "paused"; }));
  const auto refused = start();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->resume(*id, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->reason.empty(); }));
  EXPECT_TRUE(start());
}

TEST_F(RegistryFixture, LogStreamsAreCountedUntilTheyEnd) {
  const auto id = spawn("/srv/project");
  const auto other = spawn("/srv/other");
  ASSERT_TRUE(id && other);
  const auto open = [this](const WorkerId& worker) {
    std::optional<Result<UniqueFd>> answer;
    registry->logs(worker, {}, [&answer](Result<UniqueFd> result) { answer = std::move(result); });
    EXPECT_TRUE(run_until(loop, [&answer] { return answer.has_value(); }));
    return *std::move(answer);
  };
  runtime.hold("logs");  // they stay open
  for (std::size_t i = 0; i < limits::log_streams_per_worker; ++i) {
    ASSERT_TRUE(open(*id)) << i;
  }
  const auto refused = open(*id);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::limit);
  EXPECT_NE(refused.error().message.find("16"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(open(*other)) << "another worker has its own bound";
  runtime.release("logs");
  run_ready(loop);
  EXPECT_TRUE(open(*id)) << "those that ended make room";
}

TEST_F(RegistryFixture, ProgramsOfAWorkerAreBoundedHereToo) {
  init_stays_running = true;
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id) << id.error().message;
  const auto start = [&] {
    std::optional<Result<worker::Stream>> answer;
    worker::ExecRequest request;
    request.argv = {"cat"};
    registry->exec(*id, std::move(request), [&answer](Result<worker::Stream> result) { answer = std::move(result); });
    EXPECT_TRUE(run_until(loop, [&answer] { return answer.has_value(); }));
    return *std::move(answer);
  };
  for (std::size_t i = 0; i < limits::execs_per_worker; ++i) {
    ASSERT_TRUE(start()) << i;
  }
  const auto refused = start();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::limit);
  EXPECT_NE(refused.error().message.find("64"), std::string::npos) << refused.error().message;
}

TEST_F(RegistryFixture, ACaptureWhoseProgramIsNeverSaidToEndFails) {
  init_stays_running = true;
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id) << id.error().message;
  std::optional<Result<std::string>> answer;
  registry->capture(*id, 0, [&answer](Result<std::string> result) { answer = std::move(result); });
  ASSERT_TRUE(run_until(
      loop, [&answer] { return answer.has_value(); }, 30s));
  ASSERT_FALSE(*answer);
  EXPECT_EQ(answer->error().code, Errc::timed_out);
}

/** What runs in the worker may have taken its init over. */
TEST_F(RegistryFixture, AnInitThatClaimsProgramsWithoutEndIsCutOff) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id) << id.error().message;
  for (std::uint64_t i = 1; i < limits::execs_per_worker; ++i) {
    init::Record record;
    record.kind = init::RecordKind::running;
    record.id = ExecId{i};
    inits.at(0)->send(record);
  }
  run_ready(loop);
  EXPECT_FALSE(inits.at(0)->closed) << "so many there may be";
  for (std::uint64_t i = 1000; i < 1000 + 2; ++i) {
    init::Record record;
    record.kind = init::RecordKind::running;
    record.id = ExecId{i};
    inits.at(0)->send(record);
  }
  EXPECT_TRUE(run_until(loop, [this] { return inits.at(0)->closed; }));
}

TEST_F(RegistryFixture, WithoutMappedIdsTheContainerRunsAsTheOwnerButNeverAsRoot) {
  binder.mapped = false;
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  EXPECT_EQ(runtime.specs.at(registry->find(*id)->container).user, "1234:77");
  const auto roots = spawn("/srv/other", [](worker::SpawnRequest& request) { request.owner = 0; });
  ASSERT_FALSE(roots);
  EXPECT_EQ(roots.error().code, Errc::unavailable);
}

TEST_F(RegistryFixture, AConnectionThatIsNotTheContainersPid1IsRefused) {
  runtime.on_start = [this](const worker::ContainerSpec& spec) {
    inits.push_back(std::make_unique<FakeInit>(loop, spec.binds.at(0).source + "/control.sock"));
    return ::getppid();  // the connection above comes from another process
  };
  std::optional<Result<WorkerId>> answer;
  worker::SpawnRequest request;
  request.workspace = "/srv/project";
  registry->spawn(std::move(request), [&](Result<WorkerId> result) { answer = std::move(result); });
  ASSERT_TRUE(run_until(
      loop, [&] { return answer.has_value(); }, 30s));
  EXPECT_EQ(answer->error().code, Errc::timed_out);
  EXPECT_TRUE(inits.at(0)->requests.empty()) << "an impostor was given commands";
}

TEST_F(RegistryFixture, TheOldestDeadMakesRoomAndTheLivingAreCounted) {
  std::vector<WorkerId> ids;
  for (std::size_t i = 0; i < limits::workers_per_owner; ++i) {
    const auto id = spawn("/srv/p" + std::to_string(i));
    ASSERT_TRUE(id) << id.error().message;
    ids.push_back(*id);
  }
  const auto refused = spawn("/srv/one-more");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::limit);
  runtime.die(registry->find(ids[0])->container, 0);
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(ids[0])->state == State::exited; }));
  EXPECT_TRUE(spawn("/srv/one-more"));
}

TEST_F(RegistryFixture, ASignalGoesToTheCommandByItsInit) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  const auto main = inits[0]->requests.back().id;
  runtime.calls.clear();
  for (const int signal : {SIGUSR1, SIGINT, SIGHUP, SIGTERM, 40}) {
    ASSERT_TRUE(wait([&](Done<void> done) { registry->kill(*id, signal, std::move(done)); }));
    EXPECT_EQ(inits[0]->signals.back().id, main);
    EXPECT_EQ(inits[0]->signals.back().signal, signal) << "answered before init has it";
  }
  EXPECT_EQ(inits[0]->signals.size(), 5U);
  EXPECT_TRUE(runtime.calls.empty()) << "PID 1 heeds TERM and KILL only";

  restart_daemon();
  const auto reconciled = wait([&](Done<void> done) { registry->reconcile(std::move(done)); });
  ASSERT_TRUE(reconciled);
  FakeInit again(loop, settings.run_dir + "/worker/" + id->value + "/control.sock", true);
  run_ready(loop);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->kill(*id, SIGUSR2, std::move(done)); }));
  EXPECT_EQ(again.signals.back().id, ExecId{1}) << "not the command that this daemon was told of";
}

TEST_F(RegistryFixture, ASignalThatEndsTheWorkerAtOnceWasSent) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  inits[0]->mute = true;
  std::optional<Result<void>> answer;
  registry->kill(*id, SIGUSR2, [&](Result<void> result) { answer = std::move(result); });
  ASSERT_TRUE(run_until(loop, [&] { return inits[0]->unanswered == 2; }));
  EXPECT_FALSE(answer);
  inits.clear();
  ASSERT_TRUE(run_until(loop, [&] { return answer.has_value(); }));
  EXPECT_TRUE(*answer) << answer->error().message;

  const auto refused = wait([&](Done<void> done) { registry->kill(*id, SIGUSR2, std::move(done)); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::disconnected);
}

TEST_F(RegistryFixture, SigkillNeedsNoInitThatAnswers) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  inits[0]->mute = true;
  ASSERT_TRUE(wait([&](Done<void> done) { registry->kill(*id, SIGKILL, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->state == State::exited; }));
  EXPECT_EQ(registry->find(*id)->exit_code, 137);
}

TEST_F(RegistryFixture, ASignalForAPausedWorkerIsRefused) {
  const auto id = spawn("/srv/project");
  ASSERT_TRUE(id);
  ASSERT_TRUE(wait([&](Done<void> done) { registry->pause(*id, std::move(done)); }));
  ASSERT_TRUE(run_until(loop, [&] { return registry->find(*id)->reason == "paused"; }));
  const auto refused = wait([&](Done<void> done) { registry->kill(*id, SIGINT, std::move(done)); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
}

}  // namespace
}  // namespace hal::test
