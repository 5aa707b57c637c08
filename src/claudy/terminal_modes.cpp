#include "claudy/terminal_modes.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace hal::claudy {

namespace {

constexpr std::size_t max_csi_bytes = 64;
constexpr std::uint32_t max_kitty_levels = 16;

constexpr char escape_byte = '\x1b';

/** Alternate screens; left last, because the main screen must get its own state back. */
constexpr std::array<unsigned, 3> screen_modes = {47, 1047, 1049};
/** Cursor keys, wrap (starts on), old mouse, cursor (starts on), mouse, focus, encodings, paste, synchronised output,
 *  colour scheme reports. Names: ctlseqs of xterm. */
constexpr std::array<unsigned, 16> followed_modes = {1,    7,    9,    25,   1000, 1001, 1002, 1003,
                                                     1004, 1005, 1006, 1015, 1016, 2004, 2026, 2031};

bool is_screen(unsigned mode) {
  return std::find(screen_modes.begin(), screen_modes.end(), mode) != screen_modes.end();
}

bool is_followed(unsigned mode) {
  return is_screen(mode) || std::find(followed_modes.begin(), followed_modes.end(), mode) != followed_modes.end();
}

bool starts_on(unsigned mode) {
  return mode == 7 || mode == 25;
}

std::string sequence(unsigned mode, bool on) {
  return fmt::format("\x1b[?{}{}", mode, on ? 'h' : 'l');
}

}  // namespace

void TerminalModes::feed(std::string_view output) {
  while (!output.empty()) {
    if (state_ == State::ground) {  // the common case: plain output up to the next escape
      const auto at = output.find(escape_byte);
      if (at == std::string_view::npos) {
        return;
      }
      output.remove_prefix(at);
    }
    on_byte(output.front());
    output.remove_prefix(1);
  }
}

void TerminalModes::on_byte(char c) {
  switch (state_) {
    case State::ground:
      state_ = c == escape_byte ? State::escape : State::ground;
      return;
    case State::escape:
      on_escape(c);
      return;
    case State::escape_skip:
      state_ = State::ground;
      return;
    case State::csi:
      if (c >= 0x40 && c <= 0x7E) {
        state_ = State::ground;
        on_csi(c);
      } else if (c == escape_byte) {
        state_ = State::escape;
      } else if (csi_.size() < max_csi_bytes) {
        csi_ += c;
      }
      return;
    case State::text:
      if (c == '\a') {
        state_ = State::ground;
      } else if (c == escape_byte) {
        state_ = State::text_escape;
      }
      return;
    case State::text_escape:
      state_ = State::escape;
      on_escape(c);
      return;
  }
}

void TerminalModes::on_escape(char c) {
  state_ = State::ground;
  switch (c) {
    case '[':
      csi_.clear();
      state_ = State::csi;
      return;
    case ']':
    case 'P':
    case 'X':
    case '^':
    case '_':
      state_ = State::text;
      return;
    case escape_byte:
      state_ = State::escape;
      return;
    case '=':
      keypad_ = true;
      return;
    case '>':
      keypad_ = false;
      return;
    case 'c':
      reset_all();
      return;
    case '(':
    case ')':
    case '#':
    case ' ':
    case '%':
      attributes_ = true;
      state_ = State::escape_skip;
      return;
    default:
      return;
  }
}

void TerminalModes::on_csi(char final) {
  const std::string_view parameters = csi_;
  const char mark = parameters.empty() ? '\0' : parameters.front();
  const auto rest = parameters.substr(parameters.empty() ? 0 : 1);
  if (mark == '?' && (final == 'h' || final == 'l')) {
    set_private_modes(rest, final == 'h');
  } else if (mark == '>' && final == 'u') {
    kitty_levels_ = std::min(kitty_levels_ + 1, max_kitty_levels);
  } else if (mark == '<' && final == 'u') {
    const auto levels = rest.empty() ? 1U : text::to_number<std::uint32_t>(rest).value_or(1);
    kitty_levels_ -= std::min(levels, kitty_levels_);
  } else if (mark == '>' && final == 'm' && rest.substr(0, 1) == "4") {
    modify_other_keys_ = rest.size() > 2 && rest[1] == ';' && rest.substr(2) != "0";
  } else if (final == 'r' && mark != '?') {
    scroll_region_ = !parameters.empty();
  } else if (final == 'q' && !parameters.empty() && parameters.back() == ' ') {
    cursor_style_ = parameters != " " && parameters != "0 ";
  } else if (final == 'm' && mark != '>' && mark != '?') {
    attributes_ = !parameters.empty() && parameters != "0";
  } else if (final == 'p' && parameters == "!") {
    reset_all();
  }
}

void TerminalModes::set_private_modes(std::string_view numbers, bool on) {
  for (const auto word : text::split(numbers, ';')) {
    const auto mode = text::to_number<unsigned>(word);
    if (!mode || !is_followed(*mode)) {
      continue;
    }
    if (on != starts_on(*mode)) {
      changed_.insert(*mode);
    } else {
      changed_.erase(*mode);
    }
  }
}

void TerminalModes::reset_all() {
  changed_.clear();
  kitty_levels_ = 0;
  modify_other_keys_ = keypad_ = scroll_region_ = cursor_style_ = attributes_ = false;
}

std::string TerminalModes::undo() const {
  std::string out;
  bool on_main_screen = true;
  if (state_ != State::ground) {
    out += "\x1b\\";  // ends a sequence that was cut in the middle
  }
  if (kitty_levels_ > 0) {
    out += fmt::format("\x1b[<{}u", kitty_levels_);
  }
  if (modify_other_keys_) {
    out += "\x1b[>4m";
  }
  for (const auto mode : changed_) {
    if (is_screen(mode)) {
      on_main_screen = false;
    } else {
      out += sequence(mode, starts_on(mode));
    }
  }
  out += keypad_ ? "\x1b>" : "";
  out += cursor_style_ ? "\x1b[0 q" : "";
  if (scroll_region_) {  // setting it moves the cursor, which matters on the main screen only
    out += on_main_screen ? "\x1b"
                            "7\x1b[r\x1b"
                            "8"
                          : "\x1b[r";
  }
  out += attributes_ ? "\x1b(B\x1b[m" : "";
  for (const auto mode : changed_) {
    out += is_screen(mode) ? sequence(mode, false) : "";
  }
  return out;
}

std::string TerminalModes::redo() const {
  std::string out;
  for (const auto mode : changed_) {
    out += is_screen(mode) ? sequence(mode, true) : "";
  }
  for (const auto mode : changed_) {
    out += is_screen(mode) ? "" : sequence(mode, !starts_on(mode));
  }
  out += keypad_ ? "\x1b=" : "";
  out += modify_other_keys_ ? "\x1b[>4;2m" : "";
  for (std::uint32_t level = 0; level < kitty_levels_; ++level) {
    out += "\x1b[>1u";
  }
  return out;
}

}  // namespace hal::claudy
