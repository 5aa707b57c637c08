#pragma once

#include "server/child_launcher.hpp"
#include "server/supervisor.hpp"
#include "support/component.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hal::server::test {

using namespace hal::test;

/** Stands for the gateway: keeps the stdio of what is ready and drops that of what is gone. */
class Gateway : public Supervisor::Listener {
 public:
  struct Held {
    std::string server;
    std::optional<std::string> session;
    UniqueFd to_server;
    UniqueFd from_server;
  };

  void on_server_added(const Server& server) override { log.push_back("added " + server.config.name); }
  void on_server_changed(const Server& server) override {
    log.push_back(fmt::format("changed {} {}", server.config.name, name(server.state)));
  }
  void on_server_removed(const std::string& server) override { log.push_back("removed " + server); }
  void on_instance_ready(const std::string& server, InstanceId instance, const std::optional<std::string>& session,
                         UniqueFd to_server, UniqueFd from_server) override {
    log.push_back("ready " + server);
    EXPECT_FALSE(held.contains(instance));
    held[instance] = {server, session, std::move(to_server), std::move(from_server)};
    latest = instance;
  }
  void on_instance_gone(const std::string& server, InstanceId instance, const std::string& reason) override {
    log.push_back("gone " + server + ": " + reason);
    EXPECT_FALSE(gone.contains(instance)) << "told twice";
    gone[instance] = reason;
    held.erase(instance);
  }
  void on_server_unavailable(const std::string& server, const std::optional<std::string>& session,
                             const std::string& reason, std::optional<std::chrono::milliseconds> retry_in) override {
    log.push_back("unavailable " + server + ": " + reason);
    unavailable.push_back({server, session, reason, retry_in});
  }

  [[nodiscard]] bool has(std::string_view part) const {
    for (const auto& line : log) {
      if (line.find(part) != std::string::npos) {
        return true;
      }
    }
    return false;
  }

  struct Unavailable {
    std::string server;
    std::optional<std::string> session;
    std::string reason;
    std::optional<std::chrono::milliseconds> retry_in;
  };
  std::vector<std::string> log;
  std::map<InstanceId, Held> held;
  std::map<InstanceId, std::string> gone;
  std::vector<Unavailable> unavailable;
  InstanceId latest;
};

class SupervisorBase : public ::testing::Test {
 protected:
  // The servers' account, where there is one, must reach its folders.
  SupervisorBase() { EXPECT_EQ(::chmod(folder_.path().c_str(), 0755), 0); }

  [[nodiscard]] ServerConfig config(std::string name, std::string script = "exec cat", Mode mode = Mode::shared) const {
    ServerConfig result;
    result.state_directory = folder_ / name;
    result.name = std::move(name);
    result.argv = {"sh", "-c", std::move(script)};
    result.mode = mode;
    result.stop_timeout = 200ms;
    return result;
  }

  static Supervisor::Options quick() {
    Supervisor::Options options;
    options.backoff.first = 2ms;
    options.backoff.max = 10ms;
    options.backoff.max_failures = 4;
    return options;
  }

  template <class Predicate>
  bool until(Predicate predicate) {
    return run_until(loop_, predicate);
  }

  event::Loop loop_;
  TempDir folder_;
  Gateway gateway_;
};

class SupervisorTest : public SupervisorBase {
 protected:
  /** No test leaves a process to the next. */
  void TearDown() override {
    bool done = false;
    supervisor_.stop_all([&](const Result<void>&) { done = true; });
    EXPECT_TRUE(until([&] { return done && children().empty(); }));
  }

  [[nodiscard]] const Server& server(std::string_view name) const {
    const auto* found = supervisor_.find(name);
    if (found == nullptr) {
      throw std::runtime_error("no such server");
    }
    return *found;
  }

  void run(std::vector<ServerConfig> configs) {
    supervisor_.apply(std::move(configs));
    supervisor_.reconcile({});
  }

  bool until_running(std::string_view name) {
    return until([&] { return server(name).state == State::running && gateway_.held.contains(gateway_.latest); });
  }

  bool echoes(InstanceId instance) {
    const auto& held = gateway_.held.at(instance);
    return ::write(held.to_server.get(), "hello\n", 6) == 6 && read_line(held.from_server.get()) == "hello";
  }

  /** The answer of start, stop and restart. */
  Result<void> answer_of(void (Supervisor::*call)(std::string_view, Done<void>), std::string_view name) {
    std::optional<Result<void>> result;
    (supervisor_.*call)(name, [&](Result<void> done) { result.emplace(std::move(done)); });
    EXPECT_FALSE(result) << "answered from inside the call";
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result ? std::move(*result) : Error{Errc::internal, "no answer"};
  }

  ChildLauncher launcher_{loop_};
  Supervisor supervisor_{loop_, launcher_, gateway_, quick()};
};

}  // namespace hal::server::test
