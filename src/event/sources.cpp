#include "event/sources.hpp"

#include "base/error.hpp"

#include <systemd/sd-event.h>

#include <exception>
#include <utility>

namespace hal::event {

namespace detail {

struct SourceState {
  Loop* loop;
  std::string name;
  sd_event_source* source = nullptr;
  std::function<void(std::uint32_t)> on_io;
  std::function<void()> on_event;
  std::function<void(const siginfo_t&)> on_child;
};

}  // namespace detail

namespace {

using detail::SourceState;

/** Runs a callback so that nothing escapes into sd-event; the copy of the state lets a callback destroy its source. */
template <class Call>
int guarded(void* userdata, Call call) noexcept {
  const auto state = *static_cast<std::shared_ptr<SourceState>*>(userdata);
  try {
    call(*state);
  } catch (const std::exception& error) {
    state->loop->fail(state->name, error.what());
  } catch (...) {
    state->loop->fail(state->name, "unknown exception");
  }
  return 0;
}

int on_io(sd_event_source*, int, std::uint32_t events, void* userdata) {
  return guarded(userdata, [events](SourceState& state) { state.on_io(events); });
}

int on_time(sd_event_source*, std::uint64_t, void* userdata) {
  return guarded(userdata, [](SourceState& state) { state.on_event(); });
}

/** A source that only the loop holds goes after its one event. */
void end_floating(sd_event_source* source) {
  if (sd_event_source_get_floating(source) > 0) {
    (void)sd_event_source_set_floating(source, 0);
  }
}

int on_defer(sd_event_source* source, void* userdata) {
  const int result = guarded(userdata, [](SourceState& state) { state.on_event(); });
  end_floating(source);  // of post()
  return result;
}

int on_signal(sd_event_source*, const struct signalfd_siginfo*, void* userdata) {
  return guarded(userdata, [](SourceState& state) { state.on_event(); });
}

int on_child(sd_event_source* source, const siginfo_t* info, void* userdata) {
  const int result = guarded(userdata, [info](SourceState& state) { state.on_child(*info); });
  end_floating(source);  // abandoned, with the child's descriptor
  return result;
}

/** sd-event owns a reference to the state and drops it when the source is gone, after a running callback returned. */
void* hold(const std::shared_ptr<SourceState>& state) {
  return new std::shared_ptr<SourceState>(state);
}

void drop(void* userdata) {
  delete static_cast<std::shared_ptr<SourceState>*>(userdata);
}

void finish(const std::shared_ptr<SourceState>& state, void* held, int result, Priority priority, const char* what) {
  if (result < 0) {
    drop(held);
    throw_errno(what, -result);
  }
  (void)sd_event_source_set_destroy_callback(state->source, drop);
  (void)sd_event_source_set_description(state->source, state->name.c_str());
  (void)sd_event_source_set_priority(state->source, static_cast<std::int64_t>(priority));
}

void check(int result, const char* what) {
  if (result < 0) {
    throw_errno(what, -result);
  }
}

/** Disabled first: a source whose callback is running is freed by sd-event only when that callback has returned. */
void release(const std::shared_ptr<SourceState>& state) noexcept {
  if (state && state->source != nullptr) {
    sd_event_source_disable_unref(std::exchange(state->source, nullptr));
  }
}

}  // namespace

Source::Source(Loop& loop, std::string name) : state_(std::make_shared<SourceState>()) {
  state_->loop = &loop;
  state_->name = std::move(name);
}

Source::Source(Source&&) noexcept = default;

Source& Source::operator=(Source&& other) noexcept {
  if (this != &other) {
    release(state_);
    state_ = std::move(other.state_);
  }
  return *this;
}

Source::~Source() {
  release(state_);
}

sd_event_source* Source::raw() const noexcept {
  return state_->source;
}

Io::Io(Loop& loop, int fd, std::uint32_t events, std::string name, Callback callback, Priority priority)
    : Source(loop, std::move(name)) {
  state_->on_io = std::move(callback);
  void* held = hold(state_);
  finish(state_, held, sd_event_add_io(loop.raw(), &state_->source, fd, events, on_io, held), priority,
         "sd_event_add_io");
  if (events == 0) {
    set_events(0);
  }
}

void Io::set_events(std::uint32_t events) {
  if (events != 0) {
    check(sd_event_source_set_io_events(raw(), events), "sd_event_source_set_io_events");
  }
  check(sd_event_source_set_enabled(raw(), events != 0 ? SD_EVENT_ON : SD_EVENT_OFF), "sd_event_source_set_enabled");
}

Timer::Timer(Loop& loop, std::string name, Callback callback, Priority priority) : Source(loop, std::move(name)) {
  state_->on_event = std::move(callback);
  void* held = hold(state_);
  finish(state_, held, sd_event_add_time(loop.raw(), &state_->source, CLOCK_MONOTONIC, 0, 1'000, on_time, held),
         priority, "sd_event_add_time");
  disarm();
}

void Timer::arm(std::chrono::microseconds delay) {
  const auto microseconds = delay.count() > 0 ? static_cast<std::uint64_t>(delay.count()) : 0;
  check(sd_event_source_set_time_relative(raw(), microseconds), "sd_event_source_set_time_relative");
  check(sd_event_source_set_enabled(raw(), SD_EVENT_ONESHOT), "sd_event_source_set_enabled");
}

void Timer::disarm() {
  check(sd_event_source_set_enabled(raw(), SD_EVENT_OFF), "sd_event_source_set_enabled");
}

bool Timer::armed() const {
  int enabled = SD_EVENT_OFF;
  check(sd_event_source_get_enabled(raw(), &enabled), "sd_event_source_get_enabled");
  return enabled != SD_EVENT_OFF;
}

Defer::Defer(Loop& loop, std::string name, Callback callback, Priority priority) : Source(loop, std::move(name)) {
  state_->on_event = std::move(callback);
  void* held = hold(state_);
  finish(state_, held, sd_event_add_defer(loop.raw(), &state_->source, on_defer, held), priority, "sd_event_add_defer");
  cancel();
}

void Defer::schedule() {
  check(sd_event_source_set_enabled(raw(), SD_EVENT_ONESHOT), "sd_event_source_set_enabled");
}

void Defer::cancel() {
  check(sd_event_source_set_enabled(raw(), SD_EVENT_OFF), "sd_event_source_set_enabled");
}

void post(Loop& loop, std::string name, std::function<void()> function) {
  const auto state = std::make_shared<SourceState>();
  state->loop = &loop;
  state->name = std::move(name);
  state->on_event = std::move(function);
  void* held = hold(state);
  finish(state, held, sd_event_add_defer(loop.raw(), &state->source, on_defer, held), Priority::normal,
         "sd_event_add_defer");
  (void)sd_event_source_set_floating(state->source, 1);
  sd_event_source_unref(std::exchange(state->source, nullptr));
}

Signal::Signal(Loop& loop, int signal, std::string name, Callback callback) : Source(loop, std::move(name)) {
  state_->on_event = std::move(callback);
  void* held = hold(state_);
  finish(state_, held, sd_event_add_signal(loop.raw(), &state_->source, signal, on_signal, held), Priority::urgent,
         "sd_event_add_signal");
}

ChildExit::ChildExit(Loop& loop, pid_t pid, std::string name, Callback callback) : Source(loop, std::move(name)) {
  state_->on_child = std::move(callback);
  void* held = hold(state_);
  finish(state_, held, sd_event_add_child(loop.raw(), &state_->source, pid, WEXITED, on_child, held),
         Priority::child_exit, "sd_event_add_child");
}

void ChildExit::abandon() noexcept {
  state_->on_child = [](const siginfo_t&) {};
  if (sd_event_source_set_floating(raw(), 1) >= 0) {
    sd_event_source_unref(std::exchange(state_->source, nullptr));
  }
}

void block_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) {
    ::sigaddset(&set, signal);
  }
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) {
    throw_errno("sigprocmask");
  }
  if (::signal(SIGPIPE, SIG_IGN) == SIG_ERR) {  // NOLINT(performance-no-int-to-ptr): the macro is the C library's
    throw_errno("signal(SIGPIPE)");
  }
}

}  // namespace hal::event
