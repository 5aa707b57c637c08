#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace hal::claudy {

/**
 * Follows what a program's output switches on in the terminal (alternate screen, mouse, bracketed paste, hidden cursor,
 * extended keys, …), so that it can be switched off where the program can no longer do it itself: after a detach, a
 * stop, or when its worker dies. Only what was switched on is undone, because undoing the rest is not harmless
 * everywhere. Pure; holds against any bytes.
 */
class TerminalModes {
 public:
  void feed(std::string_view output);

  /** What brings the terminal back; empty when nothing is to be undone. */
  [[nodiscard]] std::string undo() const;
  /** What switches the same on again. */
  [[nodiscard]] std::string redo() const;

 private:
  enum class State { ground, escape, escape_skip, csi, text, text_escape };

  void on_byte(char c);
  void on_escape(char c);
  void on_csi(char final);
  void set_private_modes(std::string_view numbers, bool on);
  void reset_all();

  State state_ = State::ground;
  /** Parameters and intermediates of the control sequence being read; what is longer is none we follow. */
  std::string csi_;
  /** DEC private modes that are not as a terminal starts; for 7 and 25, which start on, that is off. */
  std::set<unsigned> changed_;
  std::uint32_t kitty_levels_ = 0;
  bool modify_other_keys_ = false;
  bool keypad_ = false;
  bool scroll_region_ = false;
  bool cursor_style_ = false;
  bool attributes_ = false;
};

}  // namespace hal::claudy
