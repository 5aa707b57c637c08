#include "base/names.hpp"
#include "fakes/fake_runtime.hpp"
#include "support/component.hpp"
#include "worker/container_spec.hpp"
#include "worker/live_parent.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using worker::LiveParent;
using worker::Parent;

struct ParentTest : public ::testing::Test, public worker::Runtime::Listener, public Parent::Listener {
  ParentTest() {
    settings.state_dir = dir / "state";
    ::mkdir(settings.state_dir.c_str(), 0700);
    ::mkdir((settings.state_dir + "/chroma").c_str(), 0700);
    restart_daemon();
  }
  void restart_daemon() {
    parent = std::make_unique<LiveParent>(
        loop, runtime, settings,
        [this](pid_t, Done<void> done) {
          ++beats;
          event::post(loop, "fake heartbeat", [this, done = std::move(done)] {
            done(chroma_well ? Result<void>() : Error{Errc::timed_out, "no"});
          });
        },
        [this] { return in_use; });
    parent->set_listener(this);
    runtime.set_listener(this);
  }
  void on_engine_up(const worker::EngineInfo&) override {
    parent->reconcile([](const Result<void>&) {});
  }
  void on_engine_down(const Error&) override { parent->on_engine_down(); }
  void on_container_event(const worker::ContainerEvent& event) override { parent->on_container_event(event); }
  void on_parent_changed() override {}
  void on_namespace(bool available) override { namespaces.push_back(available); }

  bool reaches(Parent::State state) {
    return run_until(
        loop, [this, state] { return parent->state() == state; }, 30s);
  }
  std::size_t count(const char* role) const {
    return static_cast<std::size_t>(
        std::count_if(runtime.containers.begin(), runtime.containers.end(),
                      [role](const auto& entry) { return entry.second.labels.at(names::label_role) == role; }));
  }

  TempDir dir;
  event::Loop loop;
  FakeRuntime runtime{loop};
  worker::Settings settings;
  bool chroma_well = true;
  bool in_use = false;
  int beats = 0;
  std::vector<bool> namespaces;
  std::unique_ptr<LiveParent> parent;
};

TEST_F(ParentTest, IsMadeOnceAndTakenUpAfterARestartOfTheDaemon) {
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  const auto holder = parent->container();
  const auto chroma = parent->chroma_container();
  restart_daemon();
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  EXPECT_EQ(parent->container(), holder);
  EXPECT_EQ(parent->chroma_container(), chroma);
  EXPECT_EQ(count("parent"), 1U);
  EXPECT_EQ(count("chroma"), 1U);
}

TEST_F(ParentTest, ChromaComesBackWithoutTouchingTheNamespace) {
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  const auto holder = parent->container();
  runtime.die(parent->chroma_container(), 1);
  ASSERT_TRUE(reaches(Parent::State::degraded));
  ASSERT_TRUE(reaches(Parent::State::running));
  EXPECT_EQ(parent->container(), holder);
  EXPECT_EQ(namespaces, std::vector<bool>{true});
  EXPECT_EQ(count("chroma"), 1U);
}

TEST_F(ParentTest, AReplacedHolderGetsItsOwnChroma) {
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  const auto old_chroma = parent->chroma_container();
  runtime.die(parent->container(), 137);
  ASSERT_TRUE(run_until(loop, [this] { return namespaces == std::vector<bool>{true, false, true}; }));
  ASSERT_TRUE(reaches(Parent::State::running));
  EXPECT_NE(parent->chroma_container(), old_chroma) << "the old one lives in a namespace nobody joins any more";
  EXPECT_EQ(runtime.specs.at(parent->chroma_container()).network, "container:" + parent->container().value);
  EXPECT_EQ(count("parent"), 1U);
  EXPECT_EQ(count("chroma"), 1U);
}

TEST_F(ParentTest, AMissingImageIsToldAndTriedAgain) {
  runtime.fail("create", {Errc::not_found, "no image hal9000/parent"});
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::degraded));
  EXPECT_NE(parent->reason().find("no image"), std::string::npos) << parent->reason();
  runtime.heal();
  EXPECT_TRUE(reaches(Parent::State::running)) << parent->reason();
}

TEST_F(ParentTest, AnEngineThatGoesAndComesIsFollowed) {
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  runtime.go_down();
  ASSERT_TRUE(reaches(Parent::State::degraded));
  runtime.come_up();
  EXPECT_TRUE(reaches(Parent::State::running));
  EXPECT_EQ(count("parent"), 1U);
}

TEST_F(ParentTest, RestartChromaMakesANewContainer) {
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  const auto before = parent->chroma_container();
  std::optional<Result<void>> answer;
  parent->restart_chroma([&answer](Result<void> result) { answer = std::move(result); });
  ASSERT_TRUE(run_until(loop, [&] { return answer.has_value() && parent->state() == Parent::State::running; }));
  EXPECT_TRUE(*answer);
  EXPECT_NE(parent->chroma_container(), before);
}

TEST_F(ParentTest, ChromaIsAskedWhenSomebodyMayWantItAndReplacedIfItHangs) {
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  const auto before = parent->chroma_container();
  const int started = beats;
  parent->on_use();
  run_ready(loop);
  EXPECT_EQ(beats, started) << "nobody wants it";
  in_use = true;
  for (int i = 0; i < 3; ++i) {
    parent->on_use();
    parent->on_use();
    run_ready(loop);
  }
  EXPECT_EQ(beats, started + 1) << "again only after a while";

  restart_daemon();
  in_use = false;
  runtime.come_up();
  ASSERT_TRUE(reaches(Parent::State::running));
  EXPECT_EQ(parent->chroma_container(), before);
  chroma_well = false;
  in_use = true;
  parent->on_use();
  ASSERT_TRUE(run_until(loop, [&] { return parent->chroma_container() != before; }));
  EXPECT_NE(parent->reason().find("heartbeat"), std::string::npos) << parent->reason();
  chroma_well = true;
  EXPECT_TRUE(reaches(Parent::State::running));
}

}  // namespace
}  // namespace hal::test
