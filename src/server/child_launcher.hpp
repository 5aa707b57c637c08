#pragma once

#include "event/sources.hpp"
#include "server/launcher.hpp"
#include "server/stdio.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hal::server {

/**
 * Servers as children of the daemon, for machines without systemd. They end with the daemon. There is no control
 * group, so memory_max and tasks_max are not kept (an address space limit would kill every node program) and a program
 * that leaves its process group is not found again.
 */
class ChildLauncher : public Launcher {
 public:
  /** Who servers run as where the daemon is root and the account exists; else they run as the daemon does. */
  static constexpr const char* default_user = "hal9000-mcp";
  /** The same for remote servers, whose processes hold credentials that other servers are not to see. */
  static constexpr const char* remote_user = "hal9000-remote";

  explicit ChildLauncher(event::Loop& loop, const std::string& user = default_user);
  ~ChildLauncher() override;

  void set_listener(Listener* listener) override { listener_ = listener; }
  void start(const LaunchSpec& spec, Done<Launched> done) override;
  void stop(InstanceId instance, std::chrono::milliseconds grace) override;
  void survivors(Done<std::vector<Survivor>> done) override;

 private:
  struct Starting;
  class Instance;

  [[nodiscard]] Result<void> begin(const LaunchSpec& spec, const Done<Launched>& done);
  void on_started(InstanceId id, Result<pid_t> pid);
  void on_exit(InstanceId instance, const InstanceExit& exit);
  void answer(std::function<void()> call);

  event::Loop& loop_;
  Listener* listener_ = nullptr;
  std::optional<Account> account_;
  std::optional<Account> remote_account_;
  bool told_of_limits_ = false;
  std::map<InstanceId, std::unique_ptr<Starting>> starting_;
  std::map<InstanceId, std::unique_ptr<Instance>> instances_;
  /** Completions for the next turn. */
  std::vector<std::function<void()>> answers_;
  event::Defer answer_later_;
};

}  // namespace hal::server
