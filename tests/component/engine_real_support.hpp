#pragma once

#include "engine/client.hpp"
#include "event/sources.hpp"
#include "support/component.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::engine {

/** Runs a program to its end while the loop turns; its exit code, or what kept it from running. */
Result<int> run_program(event::Loop& loop, std::vector<std::string> argv,
                        std::chrono::milliseconds deadline = std::chrono::seconds(120));

/** Gives the engine at `socket` the image real_image: busybox and nothing else. */
void import_image(event::Loop& loop, const std::string& socket);
inline constexpr const char real_image[] = "hal9000-test-busybox:1";

/** Reads a pipe into `text` until it ends. */
class PipeReader {
 public:
  PipeReader(event::Loop& loop, UniqueFd fd);

  std::string text;
  bool closed = false;

 private:
  void read();

  UniqueFd fd_;
  std::unique_ptr<event::Io> source_;
};

/** Remembers what it was told. */
class Recorder final : public worker::Runtime::Listener {
 public:
  void on_engine_up(const worker::EngineInfo&) override { ++ups; }
  void on_engine_down(const Error& error) override {
    ++downs;
    reason = error;
  }
  void on_container_event(const worker::ContainerEvent& event) override { events.push_back(event); }

  /** How often `kind` was told of `id`. */
  [[nodiscard]] int count(worker::ContainerEvent::Kind kind, const ContainerId& id) const {
    int number = 0;
    for (const auto& event : events) {
      number += event.kind == kind && event.id == id ? 1 : 0;
    }
    return number;
  }

  int ups = 0;
  int downs = 0;
  Error reason{Errc::internal, ""};
  std::vector<worker::ContainerEvent> events;
};

/** A client on the engine that HAL9000_TEST_ENGINE names by its socket; skipped where there is none. */
class RealEngine : public ::testing::Test {
 protected:
  using Kind = worker::ContainerEvent::Kind;

  void SetUp() override;
  void TearDown() override;

  /** Makes an asynchronous call and waits for its answer. */
  template <class T>
  Result<T> await(const std::function<void(Done<T>)>& call) {
    std::optional<Result<T>> answer;
    call([&answer](Result<T> result) { answer = std::move(result); });
    EXPECT_FALSE(answer.has_value()) << "answered from inside the call";
    if (!test::run_until(
            loop_, [&answer] { return answer.has_value(); }, std::chrono::seconds(60))) {
      return Error{Errc::internal, "the test waited in vain"};
    }
    return std::move(*answer);
  }

  /** A container that runs `script` in a shell, with a name and labels of the test's own. */
  [[nodiscard]] worker::ContainerSpec spec(const std::string& script) const;
  [[nodiscard]] Result<ContainerId> create(const worker::ContainerSpec& spec);
  /** Creates and starts it. */
  [[nodiscard]] ContainerId run(const worker::ContainerSpec& spec);
  [[nodiscard]] Result<worker::ContainerInfo> inspect(const ContainerId& id);
  [[nodiscard]] Result<void> remove(const ContainerId& id);
  [[nodiscard]] bool wait_event(Kind kind, const ContainerId& id, int times = 1);
  /** Everything the container has written so far. */
  [[nodiscard]] std::string output(const ContainerId& id, const worker::LogOptions& options = {});

  /** Follows its output until that is `text`. */
  [[nodiscard]] bool wait_output(const ContainerId& id, const std::string& text);

  [[nodiscard]] static std::string socket();

  event::Loop loop_;
  Recorder recorder_;
  std::string instance_;
  std::unique_ptr<Client> client_;
};

}  // namespace hal::engine
