#pragma once

#include "bus/backend.hpp"
#include "daemon/data_plane.hpp"
#include "event/sources.hpp"
#include "install/installer.hpp"
#include "process/fork_task.hpp"
#include "server/managed.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hal::daemon {

/**
 * Changes the files of MCP servers in mcp.d that are ours, one change after the other: what is on the disk at that
 * moment is read, the change is decided, written by a child (for disks are slow) and applied.
 */
class ServerEditor final : public bus::ServerEditor {
 public:
  /** All outlive it. */
  struct Parts {
    event::Loop& loop;
    server::Supervisor& supervisor;
    DataPlane& data_plane;
    install::Installer& installer;
    /** mcp.d */
    std::string directory;
    server::ConfigOptions options;
    /** What is in effect. */
    std::function<const server::ServerConfigs&()> current;
    /** What stands in the files now. */
    std::function<Result<server::ServerConfigs>()> read;
    /** Puts what stands in the files into effect. */
    std::function<Result<void>()> apply;
  };
  explicit ServerEditor(Parts parts);
  ~ServerEditor() override;

  void add(std::string servers, bus::AddOptions options, Done<std::vector<bus::ServerChange>> done) override;
  void remove(const std::string& name, Done<void> done) override;
  [[nodiscard]] Result<void> may_install(const bus::InstallRequest& request) const override;
  [[nodiscard]] worker::OperationHandle install(bus::InstallRequest request, bus::DaemonControl::Progress progress,
                                                Done<void> done) override;

  using Decide = std::function<Result<std::vector<server::FileChange>>(const server::ServerConfigs& defined)>;
  /** `decide` says what to change; where that is nothing, nothing is applied either. */
  void change(Decide decide, Done<void> done);
  /** Removes what was installed and is not in the configuration any more. */
  void sweep();

  [[nodiscard]] const Parts& parts() const noexcept { return parts_; }

 private:
  struct Pending {
    Decide decide;
    Done<void> done;
  };
  void next();
  void write(std::vector<server::FileChange> files);
  void finish(const Result<void>& result);

  Parts parts_;
  /** The first one is under way while `writing_` is set. */
  std::deque<Pending> pending_;
  std::unique_ptr<process::ForkTask> writing_;
  event::Defer next_;
};

}  // namespace hal::daemon
