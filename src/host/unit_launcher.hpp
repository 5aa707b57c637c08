#pragma once

#include "event/sources.hpp"
#include "host/system_bus.hpp"
#include "host/unit_message.hpp"
#include "server/launcher.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hal::host {

/**
 * Servers as transient units of systemd, each with its own control group, limits and sandbox; stderr goes to the
 * journal. They outlive the daemon: a later one finds them by name. A unit whose daemon is gone and whose stdio nobody
 * holds reads the end of its stdin and ends by itself.
 */
class UnitLauncher : public server::Launcher {
 public:
  struct Options {
    /** Who servers run as; must exist. */
    std::string user = "hal9000-mcp";
    /** The same for remote servers, whose processes hold credentials that other servers are not to see. */
    std::string remote_user = "hal9000-remote";
    std::string slice = "hal9000-mcp.slice";
    Sandbox sandbox = Sandbox::server;
  };

  UnitLauncher(event::Loop& loop, Options options);
  explicit UnitLauncher(event::Loop& loop);
  /** The units run on. */
  ~UnitLauncher() override;

  void set_listener(Listener* listener) override { listener_ = listener; }
  void start(const server::LaunchSpec& spec, Done<server::Launched> done) override;
  void stop(InstanceId instance, std::chrono::milliseconds grace) override;
  void survivors(Done<std::vector<server::Survivor>> done) override;

 private:
  struct Unit;

  // The bus.
  void on_up();
  void on_job_removed(sd_bus_message* message);
  void on_unit_changed(InstanceId id, sd_bus_message* message);
  void watch(InstanceId id);
  void call_manager(const char* member, const std::string& unit, const char* mode);

  // Starting.
  [[nodiscard]] Result<MessagePtr> prepare(const server::LaunchSpec& spec, Unit& unit);
  void on_started(InstanceId id);
  void start_failed(InstanceId id, const Error& error);
  void tell_why_not_started(InstanceId id);

  // Running and ending.
  void check(InstanceId id);
  void read_exit(InstanceId id);
  void ended(InstanceId id, const server::InstanceExit& exit);
  void send_stop(InstanceId id);

  // Taking up.
  void list_survivors(Done<std::vector<server::Survivor>> done);
  void take_up(sd_bus_message* units, Done<std::vector<server::Survivor>> done);

  [[nodiscard]] Unit* find(InstanceId id);
  [[nodiscard]] InstanceId id_of(std::string_view unit_name) const;

  event::Loop& loop_;
  Options options_;
  Listener* listener_ = nullptr;
  std::map<InstanceId, std::unique_ptr<Unit>> units_;
  /** Asked for before the bus was there. */
  Done<std::vector<server::Survivor>> survivors_waiting_;
  event::Timer survivors_deadline_;
  std::vector<std::function<void()>> answers_;
  event::Defer answer_later_;
  SlotPtr job_removed_;
  SystemBus bus_;
};

}  // namespace hal::host
