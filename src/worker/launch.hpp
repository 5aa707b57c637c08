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
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::worker {

/** What a worker is about: its owner's project and Claude home. */
struct Mounts {
  DetachedMount workspace;
  DetachedMount home;

  /** Whether a container that runs as the image's user can use both. */
  [[nodiscard]] bool mapped() const noexcept { return workspace.mapped && home.mapped; }
};

/**
 * One launch of a worker, in two halves that also happen apart. Make: the container is created, started and inspected,
 * its init connects and starts tmux. Bind: project and home are moved into it, the Claude configuration is merged, the
 * command starts. A cold spawn does both, the pool makes, a claim binds: without the engine, unless limits change.
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
    /** A network of the worker's own is there, of this PID 1, and no command yet. May be unset. */
    std::function<void(pid_t, Done<void>)> own_network = {};
  };

  /** `init` must outlive the launch. Call one of the following next, once. */
  Launch(const Context& context, Worker worker, InitChannel& init, Done<Worker> done);

  /** Makes and binds. `parent` is the namespace holder to join, unused in an isolated network. */
  void make(ContainerId parent, Mounts mounts);
  /** Makes a warm worker. */
  void make_warm(ContainerId parent);
  /** Of a warm worker an earlier daemon made: sees whether it is as it should be. */
  void take_up();
  /** Binds a warm worker, whose limits it changes first. */
  void bind(Mounts mounts, const LimitChange& change);

  /** To be called when the worker's init has connected. */
  void on_init_connected();
  /** Ends the launch with this error at its next step, cleaning up. */
  void cancel(const Error& error);

 private:
  void create(const ContainerId& parent);
  void start();
  void inspect();
  void await_init();
  void prepare();
  void place();
  void configure();
  void find_session();
  void start_main(bool resume);
  /** True, and the launch ends, if `result` failed or the launch was cancelled. */
  template <class T>
  bool failed(const Result<T>& result, std::string_view step);
  /** A program of the image or ours that only answers by its exit code. */
  void run(std::vector<std::string> argv, std::string step, Done<int> done);
  void fail(const Error& error);
  void finish(Result<Worker> result);
  void set_deadline(std::chrono::milliseconds delay, std::string overdue);

  Context context_;
  Worker worker_;
  InitChannel& init_;
  /** None for a warm worker. */
  std::optional<Mounts> mounts_;
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

/** Has the worker's init start tmux, or say that it is there. */
[[nodiscard]] init::Request prepare_request(const Worker& worker);

}  // namespace hal::worker
