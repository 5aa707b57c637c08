#pragma once

#include "base/result.hpp"
#include "claudy/terminal_modes.hpp"

#include <termios.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace hal::claudy {

struct WindowSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  friend bool operator==(const WindowSize&, const WindowSize&) = default;
};

/** The terminal's size; nothing where it does not know it. */
[[nodiscard]] std::optional<WindowSize> window_size(int fd);

/**
 * Our terminal while a program in a worker uses it: raw, and brought back by leave() and by destruction, its own line
 * settings as well as what the program's output has switched on.
 */
class RawTerminal {
 public:
  /** Both descriptors must be terminals and stay open. Does not change anything yet. */
  [[nodiscard]] static Result<RawTerminal> of(int input, int output);
  RawTerminal(RawTerminal&& other) noexcept;
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();

  /** Raw from now on; switches on again what was on at the last leave(). */
  [[nodiscard]] Result<void> enter();
  void leave() noexcept;

  /** To be told all that is written to the terminal. */
  void follow(std::string_view output) { modes_.feed(output); }
  [[nodiscard]] std::optional<WindowSize> size() const { return window_size(output_); }

 private:
  RawTerminal(int input, int output, const termios& saved) : input_(input), output_(output), saved_(saved) {}

  int input_;
  int output_;
  termios saved_;
  TerminalModes modes_;
  bool raw_ = false;
};

}  // namespace hal::claudy
