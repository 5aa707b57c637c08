#pragma once

#include "event/loop.hpp"

#include <signal.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

struct sd_event_source;

/**
 * Sources of events. Each is a member of the object it serves; destruction cancels, also from inside its own callback.
 * Names appear in the log line that ends the loop when a callback throws.
 */
namespace hal::event {

namespace detail {
struct SourceState;
}

/** What all sources share: the sd-event source and the callback's life. */
class Source {
 public:
  Source(Source&&) noexcept;
  Source& operator=(Source&&) noexcept;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

 protected:
  Source(Loop& loop, std::string name);
  ~Source();
  [[nodiscard]] sd_event_source* raw() const noexcept;

  std::shared_ptr<detail::SourceState> state_;
};

/** Calls back with EPOLLIN, EPOLLOUT, … when `fd` is ready. The fd stays its owner's and must outlive the source. */
class Io : public Source {
 public:
  using Callback = std::function<void(std::uint32_t events)>;
  Io(Loop& loop, int fd, std::uint32_t events, std::string name, Callback callback,
     Priority priority = Priority::normal);
  /** Changes what is waited for; 0 pauses (errors and hang-ups are then silent as well). */
  void set_events(std::uint32_t events);
};

/** One shot after a delay; armed again as often as wanted. Monotonic time. */
class Timer : public Source {
 public:
  using Callback = std::function<void()>;
  Timer(Loop& loop, std::string name, Callback callback, Priority priority = Priority::normal);
  void arm(std::chrono::microseconds delay);
  void disarm();
  [[nodiscard]] bool armed() const;
};

/** Once, in the next turn of the loop: how an answer that is already known keeps the rule "never from inside the call".
 */
class Defer : public Source {
 public:
  using Callback = std::function<void()>;
  Defer(Loop& loop, std::string name, Callback callback, Priority priority = Priority::normal);
  void schedule();
  void cancel();
};

/**
 * Runs `function` once in the next turn of the loop; nothing can cancel it. For an answer that is already known; wrap
 * it with base/alive.hpp if it touches an object.
 */
void post(Loop& loop, std::string name, std::function<void()> function);

/** A signal, which must be blocked in every thread beforehand (block_signals). */
class Signal : public Source {
 public:
  using Callback = std::function<void()>;
  Signal(Loop& loop, int signal, std::string name, Callback callback);
};

/** The end of a child process of ours; reaps it. SIGCHLD must be blocked. */
class ChildExit : public Source {
 public:
  using Callback = std::function<void(const siginfo_t&)>;
  /** Throws std::system_error when the process has no descriptor left to watch the child with. */
  ChildExit(Loop& loop, pid_t pid, std::string name, Callback callback);
  /** Leaves it to the loop to reap the child whenever it ends; the callback is not called any more. */
  void abandon() noexcept;
};

/**
 * First thing in main: blocks the signals the loop takes as events (TERM, INT, HUP, CHLD) and ignores SIGPIPE, before
 * any library can make a thread.
 */
void block_signals();

}  // namespace hal::event
