#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "image/build_output.hpp"
#include "server/launcher.hpp"
#include "worker/runtime.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hal::image {

/**
 * Runs the scripts that build and load images (docker/), as root, for they make root file systems: each in a unit with
 * limits and a sandbox where systemd is. A script removes what it leaves when it is ended, and the next one what a
 * killed one has left.
 */
class Scripts : private server::Launcher::Listener {
 public:
  struct Options {
    /** Where the scripts are; there may be none. */
    std::string folder;
    /** Downloads and roots, kept for the next build. */
    std::string cache;
    std::string engine_socket;
    /** The images' tag. */
    std::string version;
  };
  /** The launcher must start programs as root where the daemon is root. */
  Scripts(event::Loop& loop, std::unique_ptr<server::Launcher> launcher, Options options);
  ~Scripts() override;

  [[nodiscard]] const Options& options() const noexcept { return options_; }
  [[nodiscard]] bool installed() const;

  using Progress = std::function<void(double fraction, std::string message)>;
  /** Destroying the handle ends the script. An error has the last lines of what it said. */
  [[nodiscard]] worker::OperationHandle build(const std::vector<std::string>& names, bool refresh, Progress progress,
                                              Done<void> done);
  /** `archive`: what `docker save` writes, in a file. */
  [[nodiscard]] worker::OperationHandle load(UniqueFd archive, Progress progress, Done<void> done);
  /** All images that build() knows. */
  [[nodiscard]] worker::OperationHandle list(Done<Generations> done);

  /** Scripts that run, ended ones that have not stopped yet included. */
  [[nodiscard]] std::size_t running() const noexcept { return runs_.size(); }

 private:
  class Run;
  class Handle;

  [[nodiscard]] server::ServerConfig config(std::vector<std::string> words) const;
  [[nodiscard]] worker::OperationHandle start(std::string what, std::vector<std::string> words, UniqueFd input,
                                              Progress progress, Done<std::string> done);
  void on_instance_exit(InstanceId instance, const server::InstanceExit& exit) override;

  event::Loop& loop_;
  std::unique_ptr<server::Launcher> launcher_;
  Options options_;
  std::map<InstanceId, std::shared_ptr<Run>> runs_;
};

}  // namespace hal::image
