#pragma once

#include "base/alive.hpp"
#include "base/result.hpp"
#include "event/sources.hpp"
#include "worker/binder.hpp"
#include "worker/init_channel.hpp"
#include "worker/runtime.hpp"
#include "worker/settings.hpp"
#include "worker/worker.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hal::worker {

/**
 * One launch of a worker: from an opened project directory to a running command. Steps, in order: the owner's home is
 * opened, the container is created, started and inspected, its init connects, project and home are moved into it, the
 * Claude configuration is merged, the command starts.
 *
 * Answers once. After a failure the container is gone again; sockets and folders are the registry's.
 */
class Launch {
 public:
  struct Context {
    event::Loop& loop;
    Runtime& runtime;
    Binder& binder;
    const Settings& settings;
  };

  /** `init` must outlive the launch. `parent` is the namespace holder to join, unused in an isolated network. */
  Launch(const Context& context, Worker worker, InitChannel& init, ContainerId parent, DetachedMount workspace,
         Done<Worker> done);

  /** To be called when the worker's init has connected. */
  void on_init_connected();
  /** Ends the launch with this error at its next step, cleaning up. */
  void cancel(const Error& error);

 private:
  void open_home();
  void create();
  void start();
  void inspect();
  void await_init();
  void place();
  void configure();
  void start_main();
  /** True, and the launch ends, if `result` failed or the launch was cancelled. */
  template <class T>
  bool failed(const Result<T>& result, std::string_view step);
  void fail(const Error& error);
  void finish(Result<Worker> result);
  void set_deadline(std::chrono::milliseconds delay, std::string overdue);

  Context context_;
  Worker worker_;
  InitChannel& init_;
  ContainerId parent_;
  DetachedMount workspace_;
  std::optional<DetachedMount> home_;
  Done<Worker> done_;
  std::optional<Error> cancelled_;
  bool connected_ = false;
  bool awaiting_init_ = false;
  /** Of the step under way that has none of its own, and what to say then. */
  event::Timer deadline_;
  std::string overdue_;
  Alive alive_;
};

/** The environment of every program of a worker: what the image sets, the profile's and the spawn's on top. */
[[nodiscard]] std::vector<std::string> environment(const Worker& worker,
                                                   const std::map<std::string, std::string>& extra = {});

}  // namespace hal::worker
