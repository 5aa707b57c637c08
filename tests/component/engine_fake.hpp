#pragma once

#include "component/curl_script_server.hpp"
#include "engine/client.hpp"
#include "support/component.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace hal::engine {

/**
 * A client and a scripted engine that says what a healthy one says until a test puts a script of its own in place of
 * one answer. For faults only; what an engine really does, engine_real_test asks a real one.
 */
class FakeEngine : public ::testing::Test, public worker::Runtime::Listener {
 protected:
  using Connection = test::ScriptServer::ConnectionPtr;
  using Answer = std::function<void(const test::ScriptServer::Request&, const Connection&)>;
  using Kind = worker::ContainerEvent::Kind;

  FakeEngine();
  ~FakeEngine() override;

  /** Answers requests whose "METHOD /path" (without version and query) is `what`. */
  void on(const std::string& what, Answer answer) { answers_[what] = std::move(answer); }
  void on(const std::string& what, std::string bytes);
  /** Makes the client; `up` waits until it is connected. */
  void start(bool up = true);
  [[nodiscard]] bool wait_up(int times = 1);
  [[nodiscard]] bool wait_down(int times = 1);
  [[nodiscard]] bool wait(const std::function<bool()>& predicate);
  /** How many requests of this kind have come. */
  [[nodiscard]] int count(const std::string& what) const;
  /** Sends a line (or anything) on the event stream. */
  void emit(std::string_view bytes);
  [[nodiscard]] static std::string event(const std::string& action, const std::string& id);

  template <class T>
  Result<T> await(const std::function<void(Done<T>)>& call) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    call([answer](Result<T> result) {
      EXPECT_FALSE(answer->has_value()) << "answered twice";
      *answer = std::move(result);
    });
    EXPECT_FALSE(answer->has_value()) << "answered from inside the call";
    if (!wait([&answer] { return answer->has_value(); })) {
      return Error{Errc::internal, "the test waited in vain"};
    }
    test::run_ready(loop_);  // would show a second answer
    return std::move(**answer);
  }
  Result<worker::ContainerInfo> inspect() {
    return await<worker::ContainerInfo>([this](auto done) { client_->inspect(ContainerId{"c1"}, done); });
  }

  void on_engine_up(const worker::EngineInfo& info) override;
  void on_engine_down(const Error& reason) override;
  void on_container_event(const worker::ContainerEvent& event) override;
  void on_image_event() override;

  event::Loop loop_;
  test::TempDir dir_;
  std::map<std::string, Answer> answers_;
  test::ScriptServer server_;
  Connection event_stream_;
  Connection image_stream_;
  int image_events_ = 0;
  std::string api_version_ = "1.41";

  Options options_;
  int ups_ = 0;
  int downs_ = 0;
  Error reason_{Errc::internal, ""};
  std::vector<std::pair<Kind, std::string>> events_;
  /** Run inside the listener's methods, if set. */
  std::function<void()> inside_up_;
  std::function<void()> inside_down_;
  std::function<void()> inside_event_;
  std::unique_ptr<Client> client_;
};

}  // namespace hal::engine
