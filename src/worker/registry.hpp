#pragma once

#include "base/result.hpp"
#include "event/loop.hpp"
#include "worker/runtime.hpp"
#include "worker/worker.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hal::worker {

/**
 * All workers: makes them, binds projects into them, follows what becomes of them, and finds them again after a
 * restart of the daemon. Asynchronous calls answer by their Done, never from inside the call.
 *
 * Calls on a worker that does not exist fail with not_found; on one in the wrong state with busy and the state's name.
 * Who may call is the bus folder's business.
 */
class Registry {
 public:
  /** Told of every change, after it happened. */
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_worker_added(const Worker& worker) = 0;
    /** Any member but those that are read on demand changed. */
    virtual void on_worker_changed(const Worker& worker) = 0;
    virtual void on_worker_removed(const WorkerId& id) = 0;
    /** `what` is "memory" or "pids". */
    virtual void on_limit_hit(const WorkerId& id, std::string_view what) = 0;
    /** The worker's gateway socket is open; the listener owns the listening descriptor from now on. */
    virtual void on_gateway_socket(const Worker& worker, UniqueFd listening) = 0;
    /** An isolated worker's PID 1 runs and its command does not yet: what it shall find in its network is made now. */
    virtual void on_own_network(const Worker& worker, Done<void> made) = 0;
    /** A warm worker, whose gateway socket is known, has its owner and its servers now. */
    virtual void on_worker_claimed(const Worker& worker) = 0;
  };

  virtual ~Registry() = default;
  virtual void set_listener(Listener* listener) = 0;

  [[nodiscard]] virtual const Worker* find(const WorkerId& id) const = 0;
  /** A live worker of `owner` first, then any that ended. */
  [[nodiscard]] virtual const Worker* find(uid_t owner, std::string_view name) const = 0;
  [[nodiscard]] virtual std::vector<const Worker*> all() const = 0;
  /** Read at this moment from the control groups; zeros where nothing runs. */
  [[nodiscard]] virtual ContainerUsage usage(const WorkerId& id) const = 0;

  /** The worker used its MCP servers at this time (microseconds since the epoch). Tells no listener. */
  virtual void note_activity(const WorkerId& id, std::uint64_t usec) = 0;
  /** The latest of that, of what was asked of it here, and of bytes on its terminals; microseconds since the epoch. */
  [[nodiscard]] virtual std::uint64_t last_activity(const WorkerId& id) const = 0;
  /** A new listening socket in place of the worker's old one, for a gateway that has lost it. */
  [[nodiscard]] virtual Result<UniqueFd> reopen_gateway_socket(const WorkerId& id) = 0;

  /**
   * Answers when the worker runs (or at once, see SpawnRequest::wait). A failure leaves nothing behind. Whether a warm
   * worker is taken is SpawnRequest::claim's to say; unavailable if one is required and there is none.
   */
  virtual void spawn(SpawnRequest request, Done<WorkerId> done) = 0;

  /** A new terminal on the worker's command; closing the stream detaches it. `term` is the caller's TERM. */
  virtual void attach(const WorkerId& id, TerminalSize size, std::string term, Done<Stream> done) = 0;
  virtual void exec(const WorkerId& id, ExecRequest request, Done<Stream> done) = 0;
  /** The exit code of a program started by exec or attach: at once if it has ended, not_found if never heard of. */
  virtual void wait_exec(const WorkerId& id, ExecId exec, Done<int> done) = 0;
  virtual Result<void> resize(const WorkerId& id, ExecId exec, TerminalSize size) = 0;
  /** Types `text` into the command's terminal. */
  virtual void send(const WorkerId& id, std::string text, Done<void> done) = 0;
  /** The last `lines` lines of the command's terminal (0: the visible screen), as text. */
  virtual void capture(const WorkerId& id, std::uint32_t lines, Done<std::string> done) = 0;
  /** A pipe from which the worker's output can be read; it ends with the output. */
  virtual void logs(const WorkerId& id, LogOptions options, Done<UniqueFd> done) = 0;

  virtual void stop(const WorkerId& id, std::chrono::milliseconds timeout, Done<void> done) = 0;
  virtual void kill(const WorkerId& id, int signal, Done<void> done) = 0;
  /** Ends it if it runs, and forgets it. */
  virtual void remove(const WorkerId& id, Done<void> done) = 0;
  /** A new container with the same project, command and settings under the same id. */
  virtual void restart(const WorkerId& id, Done<void> done) = 0;
  virtual void pause(const WorkerId& id, Done<void> done) = 0;
  virtual void resume(const WorkerId& id, Done<void> done) = 0;
  virtual void set_limits(const WorkerId& id, LimitChange change, Done<void> done) = 0;
};

}  // namespace hal::worker
