#pragma once

#include "base/result.hpp"
#include "event/sources.hpp"
#include "install/inspect.hpp"
#include "install/package.hpp"
#include "server/launcher.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace hal::install {

struct Request {
  /** Of the server. */
  std::string name;
  Package package;
  /** One of several programs; empty: the only one. */
  std::string bin;
  /** Packages may run programs of their own while they are installed. */
  bool scripts = false;
};

/** Who npm and pip run as where the daemon is root: hal9000-install or, where that was not made, nobody. */
[[nodiscard]] const char* user();

/**
 * Installs packages, each in a fresh folder ROOT/NAME/GENERATION that belongs to root when it is complete. npm and pip
 * run as a user of their own by a launcher like that of MCP servers: in a unit with limits and a sandbox where systemd
 * is. What does not become complete is removed.
 */
class Installer : private server::Launcher::Listener {
 public:
  /** The launcher must start programs as `user`. */
  Installer(event::Loop& loop, std::unique_ptr<server::Launcher> launcher, std::string root, std::string user);
  ~Installer() override;

  using Progress = std::function<void(double fraction, std::string message)>;
  /** Gives up, when it is destroyed, what is not done, and what is done but not kept by then; see sweep(). */
  class Run {
   public:
    virtual ~Run() = default;
  };
  [[nodiscard]] std::unique_ptr<Run> install(Request request, Progress progress, Done<Installed> done);

  [[nodiscard]] bool busy(const std::string& name) const;
  [[nodiscard]] std::size_t running() const noexcept { return jobs_.size(); }

  /** The generations whose paths, or paths in them, stand in this text. */
  [[nodiscard]] std::set<std::string> generations_in(std::string_view text) const;
  /** Removes all generations that are neither in `keep` nor a live Run's, a little later. */
  void sweep(std::set<std::string> keep);

 private:
  class Job;
  class Handle;

  void on_instance_exit(InstanceId instance, const server::InstanceExit& exit) override;
  void start_sweep();
  void forget(const std::shared_ptr<Job>& job);

  event::Loop& loop_;
  std::unique_ptr<server::Launcher> launcher_;
  std::string root_;
  std::string user_;
  /** By the server's name. */
  std::map<std::string, std::shared_ptr<Job>> jobs_;
  std::set<std::string> keep_;
  bool sweep_again_ = false;
  class Sweep;
  std::unique_ptr<Sweep> sweep_;
};

}  // namespace hal::install
