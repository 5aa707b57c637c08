#pragma once

#include "base/alive.hpp"
#include "bus/backend.hpp"
#include "event/sources.hpp"
#include "install/installer.hpp"
#include "server/config.hpp"
#include "server/managed.hpp"

#include <memory>
#include <optional>
#include <string>

namespace hal::daemon {

class ServerEditor;

/** Whether a server that is there may be installed over; `file` is the one of ours. */
[[nodiscard]] Result<void> may_replace(const bus::InstallRequest& request, const server::Definition& definition,
                                       const std::string& file);

/**
 * Installs a package, writes the server's entry and asks the server something. What was there before stays until it has
 * answered, and is put back where it does not, or where this is destroyed before.
 */
class InstallServer final : public worker::Operation {
 public:
  InstallServer(ServerEditor& editor, bus::InstallRequest request, bus::DaemonControl::Progress progress,
                Done<void> done);
  ~InstallServer() override;

 private:
  void on_installed(const Result<install::Installed>& installed);
  void on_written(const Result<void>& result);
  void on_started(const Result<void>& result);
  void on_answer(const Result<std::string>& answer);
  void give_up(const Error& error);
  void finish(const Result<void>& result);

  /** What undoing it needs; outlives this while the entry is being written. */
  struct Undo {
    std::unique_ptr<install::Installer::Run> run;
    /** The entry's file as it was. */
    std::optional<server::FileChange> before;
    bool written = false;
    bool abandoned = false;
  };
  static void put_back(ServerEditor& editor, const std::shared_ptr<Undo>& undo, Done<void> done);

  ServerEditor& editor_;
  bus::InstallRequest request_;
  bus::DaemonControl::Progress progress_;
  Done<void> done_;
  std::shared_ptr<Undo> undo_ = std::make_shared<Undo>();
  event::Timer deadline_;
  Alive alive_;
};

}  // namespace hal::daemon
