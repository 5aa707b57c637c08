#pragma once

#include <chrono>
#include <string_view>

struct sd_event;

/** The one loop of a process. Nothing in this folder is thread-safe; everything runs on the loop's thread. */
namespace hal::event {

/** Smaller runs earlier. Equal priorities are served fairly. */
enum class Priority {
  /** Termination signals and D-Bus deadlines. */
  urgent = -100,
  /** Sockets, pipes, timers. */
  normal = 0,
  /** Child exits: after their pipes, or the last output is lost. */
  child_exit = 10,
  /** Listeners: under load, finish work before taking more. */
  accept = 20,
  /** Housekeeping. */
  idle = 100,
};

/**
 * Owns an sd-event loop. Sources are members of the objects they serve and must not outlive the loop.
 *
 * A callback that throws ends the loop with a critical log line and exit code 1: an exception would leave sd-event in
 * a state it cannot continue from, and the service manager starts us afresh.
 */
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /** Runs until exit() or fail(); returns the exit code. */
  int run();

  /** Dispatches what is ready or waits up to `timeout` for something. False once the loop has been told to exit. */
  bool run_once(std::chrono::milliseconds timeout);

  void exit(int code) noexcept;

  /** Ends the loop because a source's callback broke an invariant. */
  void fail(std::string_view source, std::string_view what) noexcept;

  /** Feeds the service manager's watchdog from the loop itself, where it is asked for. Says whether it is. */
  bool start_watchdog();

  /** The loop's cached CLOCK_MONOTONIC time. */
  [[nodiscard]] std::chrono::steady_clock::time_point now() const;

  [[nodiscard]] sd_event* raw() const noexcept { return event_; }

 private:
  sd_event* event_ = nullptr;
};

}  // namespace hal::event
