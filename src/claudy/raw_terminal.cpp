#include "claudy/raw_terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace hal::claudy {

namespace {

/** How long a terminal that takes nothing (stopped by Ctrl-S, a dead link) holds us up at the end. */
constexpr int write_patience_ms = 500;

void write_patiently(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    pollfd ready{fd, POLLOUT, 0};
    if (::poll(&ready, 1, write_patience_ms) <= 0) {
      return;
    }
    const ssize_t bytes = ::write(fd, text.data(), text.size());
    if (bytes < 0 && errno != EINTR && errno != EAGAIN) {
      return;
    }
    text.remove_prefix(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  }
}

}  // namespace

std::optional<WindowSize> window_size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
    return std::nullopt;
  }
  return WindowSize{size.ws_row, size.ws_col};
}

Result<RawTerminal> RawTerminal::of(int input, int output) {
  termios saved{};
  if (::tcgetattr(input, &saved) != 0 || ::isatty(output) == 0) {
    return Error{Errc::invalid_argument,
                 "standard input and output must be a terminal: use `claudy exec -T` or `claudy send` in scripts"};
  }
  return RawTerminal(input, output, saved);
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept
    : input_(other.input_),
      output_(other.output_),
      saved_(other.saved_),
      modes_(std::move(other.modes_)),
      raw_(std::exchange(other.raw_, false)) {}

RawTerminal::~RawTerminal() {
  leave();
}

Result<void> RawTerminal::enter() {
  termios raw = saved_;
  ::cfmakeraw(&raw);
  if (::tcsetattr(input_, TCSANOW, &raw) != 0) {
    return errno_error("make the terminal raw");
  }
  raw_ = true;
  write_patiently(output_, modes_.redo());
  return {};
}

void RawTerminal::leave() noexcept {
  if (!std::exchange(raw_, false)) {
    return;
  }
  write_patiently(output_, modes_.undo());
  // Not TCSADRAIN: it would wait for ever on a terminal stopped by Ctrl-S.
  (void)::tcsetattr(input_, TCSANOW, &saved_);
}

}  // namespace hal::claudy
