#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "claudy/detach_keys.hpp"
#include "claudy/pump.hpp"
#include "claudy/raw_terminal.hpp"
#include "claudy/signals.hpp"
#include "event/sources.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace hal::claudy {

/**
 * Our terminal joined to a program's: raw mode, keys to it, output from it, its size kept equal, until one side ends.
 * The terminal is as before when on_end is called, when a signal stops or ends us, and in any case after destruction.
 */
class TerminalSession {
 public:
  enum class End {
    /** The detach keys were typed. */
    detached,
    /** The program's side closed. */
    stream_ended,
    /** Our terminal is gone. */
    terminal_gone,
    /** SIGTERM, SIGHUP, SIGINT or SIGQUIT asks us to end. */
    signalled,
  };
  struct Config {
    int input = 0;
    int output = 1;
    /** The master of the program's terminal. */
    UniqueFd stream;
    DetachKeys keys;
    /** What the program already believes the size to be. */
    std::optional<WindowSize> size;
    /** The terminal has this size now. Answers when the program was told; until then no other call is made. */
    std::function<void(WindowSize, std::function<void()> told)> on_resize;
    /** Once. `signal` is 0 but for End::signalled. The session may be destroyed inside. */
    std::function<void(End end, int signal)> on_end;
  };

  [[nodiscard]] static Result<std::unique_ptr<TerminalSession>> start(event::Loop& loop, Config config);
  /** For start(). */
  TerminalSession(event::Loop& loop, RawTerminal terminal, Endpoint input, Endpoint output, Endpoint to_program,
                  Endpoint from_program, Config config);
  TerminalSession(const TerminalSession&) = delete;
  TerminalSession& operator=(const TerminalSession&) = delete;

 private:
  void on_typed(std::string& chunk);
  void on_window_changed();
  void tell_size(WindowSize size);
  void on_stop();
  void on_continue();
  void finish(End end, int signal = 0);

  Config config_;
  BlockedSignals blocked_;
  IgnoredSigpipe no_sigpipe_;
  RawTerminal terminal_;
  /** What the program was last told, and whether that is under way. */
  std::optional<WindowSize> told_;
  bool telling_ = false;
  bool ended_ = false;
  /** Expires with the session; answers of on_resize may come later. */
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Pump to_program_;
  Pump from_program_;
  event::Defer detach_;
  std::vector<event::Signal> signals_;
};

}  // namespace hal::claudy
