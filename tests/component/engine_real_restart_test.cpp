#include "base/text.hpp"
#include "component/engine_real_support.hpp"

#include <signal.h>

#include <cstdlib>

namespace hal::engine {
namespace {

using namespace std::chrono_literals;
using test::run_until;
using worker::ContainerStatus;

/** An engine of the test's own, which it may kill; needs what the engine suite needs and the script that starts one. */
class PrivateEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* script = std::getenv("HAL9000_TEST_ENGINE_SCRIPT");
    if (std::getenv("HAL9000_TEST_ENGINE") == nullptr || script == nullptr) {
      GTEST_SKIP() << "HAL9000_TEST_ENGINE or HAL9000_TEST_ENGINE_SCRIPT is not set";
    }
    script_ = script;
    ASSERT_EQ(engine("start"), 0);
    import_image(loop_, socket());
  }

  void TearDown() override {
    client_.reset();
    if (!script_.empty()) {
      EXPECT_EQ(engine("purge"), 0);
    }
  }

  int engine(const std::string& verb) {
    const auto code = run_program(loop_, {"/bin/sh", script_, verb, dir_ / "e"});
    EXPECT_TRUE(code) << code.error().message;
    return code.value_or(-1);
  }

  [[nodiscard]] std::string socket() const { return dir_ / "e/docker.sock"; }

  void signal_engine(int signal) const {
    const auto text = test::read_file(dir_ / "e/dockerd.pid");
    const auto pid = text::to_number<pid_t>(text::trim(text));
    ASSERT_TRUE(pid.has_value()) << text;
    ASSERT_EQ(::kill(*pid, signal), 0);
  }

  void connect() {
    Options options;
    options.socket = socket();
    options.instance = "test-restart";
    options.heartbeat = 200ms;
    options.ping_deadline = 500ms;
    client_ = std::make_unique<Client>(loop_, std::move(options));
    client_->set_listener(&recorder_);
  }

  test::TempDir dir_;
  event::Loop loop_;
  std::string script_;
  Recorder recorder_;
  std::unique_ptr<Client> client_;
};

TEST_F(PrivateEngine, its_death_and_return_are_noticed_and_containers_found_again) {
  connect();
  ASSERT_TRUE(run_until(loop_, [&] { return recorder_.ups == 1; }));
  worker::ContainerSpec spec;
  spec.name = "survivor";
  spec.image = real_image;
  spec.command = {"/bin/sleep", "600"};
  spec.network = "none";
  std::optional<Result<void>> started;
  client_->create(spec, [&](const Result<ContainerId>& id) {
    ASSERT_TRUE(id) << id.error().message;
    client_->start(*id, [&](Result<void> result) { started = std::move(result); });
  });
  ASSERT_TRUE(run_until(
      loop_, [&] { return started.has_value(); }, 30s));
  ASSERT_TRUE(*started) << started->error().message;

  std::optional<Result<void>> waiting;  // a call on its way when the engine dies
  client_->stop(ContainerId{"survivor"}, 60s, [&](Result<void> result) { waiting = std::move(result); });
  test::run_ready(loop_);
  signal_engine(SIGKILL);
  ASSERT_TRUE(run_until(loop_, [&] { return recorder_.downs == 1 && waiting.has_value(); }));
  EXPECT_FALSE(client_->up());
  ASSERT_FALSE(*waiting);
  EXPECT_EQ(waiting->error().code, Errc::unavailable) << waiting->error().message;

  std::optional<Result<void>> refused;
  client_->start(ContainerId{"survivor"}, [&](Result<void> result) { refused = std::move(result); });
  EXPECT_FALSE(refused.has_value());
  ASSERT_TRUE(run_until(loop_, [&] { return refused.has_value(); }));
  EXPECT_EQ(refused->error().code, Errc::unavailable);

  ASSERT_EQ(engine("start"), 0);
  ASSERT_TRUE(run_until(
      loop_, [&] { return recorder_.ups == 2; }, 5s))
      << recorder_.reason.message;
  EXPECT_EQ(recorder_.downs, 1) << "told more than once";
  std::optional<Result<std::vector<worker::ContainerInfo>>> list;
  client_->list({}, [&](auto result) { list = std::move(result); });
  ASSERT_TRUE(run_until(loop_, [&] { return list.has_value(); }));
  ASSERT_TRUE(*list) << list->error().message;
  ASSERT_EQ((*list)->size(), 1U);
  EXPECT_EQ((*list)->front().name, "survivor");
  EXPECT_EQ((*list)->front().status, ContainerStatus::exited);
}

TEST_F(PrivateEngine, one_that_hangs_counts_as_down_until_it_answers_again) {
  connect();
  ASSERT_TRUE(run_until(loop_, [&] { return recorder_.ups == 1; }));
  signal_engine(SIGSTOP);
  client_->list({}, [](const auto&) {});
  const bool down = run_until(
      loop_, [&] { return recorder_.downs == 1; }, 5s);
  signal_engine(SIGCONT);
  EXPECT_TRUE(down) << "a silent event stream hid it";
  EXPECT_EQ(recorder_.reason.code, Errc::timed_out) << recorder_.reason.message;
  EXPECT_TRUE(run_until(
      loop_, [&] { return recorder_.ups == 2; }, 5s))
      << recorder_.reason.message;
}

}  // namespace
}  // namespace hal::engine
