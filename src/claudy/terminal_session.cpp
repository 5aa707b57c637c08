#include "claudy/terminal_session.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>

namespace hal::claudy {

namespace {

constexpr std::array<int, 4> ending_signals = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};

}  // namespace

Result<std::unique_ptr<TerminalSession>> TerminalSession::start(event::Loop& loop, Config config) {
  auto terminal = RawTerminal::of(config.input, config.output);
  if (!terminal) {
    return terminal.error();
  }
  auto input = Endpoint::standard(config.input, Endpoint::Direction::read);
  auto output = Endpoint::standard(config.output, Endpoint::Direction::write);
  // Twice, because epoll takes a descriptor only once and the directions have sources of their own.
  auto to_program = Endpoint::own(config.stream.duplicate());
  auto from_program = Endpoint::own(std::move(config.stream));
  for (const auto* endpoint : {&input, &output, &to_program, &from_program}) {
    if (!*endpoint) {
      return endpoint->error();
    }
  }
  auto session = std::make_unique<TerminalSession>(loop, std::move(*terminal), std::move(*input), std::move(*output),
                                                   std::move(*to_program), std::move(*from_program), std::move(config));
  if (auto entered = session->terminal_.enter(); !entered) {
    return entered.error();
  }
  session->on_window_changed();
  return session;
}

TerminalSession::TerminalSession(event::Loop& loop, RawTerminal terminal, Endpoint input, Endpoint output,
                                 Endpoint to_program, Endpoint from_program, Config config)
    : config_(std::move(config)),
      blocked_({SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT}),
      terminal_(std::move(terminal)),
      told_(config_.size),
      to_program_(loop, std::move(input), std::move(to_program), "terminal:typed",
                  {[this](std::string& chunk) { on_typed(chunk); },
                   [this](Pump::End end) {
                     // A program that reads no more may still have output: from_program_ sees its end.
                     if (end == Pump::End::source_ended) {
                       finish(End::terminal_gone);
                     }
                   }}),
      from_program_(
          loop, std::move(from_program), std::move(output), "terminal:shown",
          {[this](std::string& chunk) { terminal_.follow(chunk); },
           [this](Pump::End end) { finish(end == Pump::End::source_ended ? End::stream_ended : End::terminal_gone); }}),
      detach_(loop, "terminal:detach", [this] { finish(End::detached); }) {
  for (const int signal : ending_signals) {
    signals_.emplace_back(loop, signal, "terminal:end", [this, signal] { finish(End::signalled, signal); });
  }
  signals_.emplace_back(loop, SIGWINCH, "terminal:size", [this] { on_window_changed(); });
  signals_.emplace_back(loop, SIGTSTP, "terminal:stop", [this] { on_stop(); });
  signals_.emplace_back(loop, SIGCONT, "terminal:continue", [this] { on_continue(); });
}

void TerminalSession::on_typed(std::string& chunk) {
  auto output = config_.keys.feed(chunk);
  chunk = std::move(output.forward);
  if (output.detached) {
    detach_.schedule();  // after what was typed before it has been written, as far as the program takes it
  }
}

void TerminalSession::on_window_changed() {
  const auto size = terminal_.size();
  if (size && size != told_ && !telling_ && !ended_) {
    tell_size(*size);
  }
}

void TerminalSession::tell_size(WindowSize size) {
  if (!config_.on_resize) {
    return;
  }
  told_ = size;
  telling_ = true;
  config_.on_resize(size, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) {
      telling_ = false;
      on_window_changed();
    }
  });
}

void TerminalSession::on_stop() {
  terminal_.leave();
  // By the default action and not by SIGSTOP: the kernel leaves it out where no shell could continue us.
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTSTP);
  (void)::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  (void)::raise(SIGTSTP);
  (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
  on_continue();
}

void TerminalSession::on_continue() {
  if (!terminal_.enter()) {
    finish(End::terminal_gone);
    return;
  }
  // Nothing makes a program draw again but another size, so it gets one, and then the right one.
  const auto size = terminal_.size();
  if (size && !telling_) {
    tell_size({static_cast<std::uint16_t>(size->rows + 1), size->columns});
  }
}

void TerminalSession::finish(End end, int signal) {
  if (std::exchange(ended_, true)) {
    return;
  }
  to_program_.stop();
  from_program_.stop();
  terminal_.leave();
  const auto on_end = config_.on_end;
  on_end(end, signal);
}

}  // namespace hal::claudy
