#include "claudy/terminal_modes.hpp"

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

std::string undo_of(std::string_view output) {
  TerminalModes modes;
  modes.feed(output);
  return modes.undo();
}

struct Case {
  const char* output;
  const char* undo;
};

TEST(TerminalModes, undoes_what_was_switched_on_and_nothing_else) {
  const Case table[] = {
      {"", ""},
      {"plain text\r\n", ""},
      {"\x1b[?1049h", "\x1b[?1049l"},
      {"\x1b[?1049h\x1b[?1049l", ""},
      {"\x1b[?25l", "\x1b[?25h"},
      {"\x1b[?25l\x1b[?25h", ""},
      {"\x1b[?1000;1006h", "\x1b[?1000l\x1b[?1006l"},
      {"\x1b[?1000;1006h\x1b[?1006;1000l", ""},
      {"\x1b[?2004h\x1b[?1049h", "\x1b[?2004l\x1b[?1049l"},  // the screen last
      {"\x1b[?7l", "\x1b[?7h"},
      {"\x1b[?9999h", ""},  // a mode we do not know
      {"\x1b=", "\x1b>"},
      {"\x1b=\x1b>", ""},
      {"\x1b[>1u\x1b[>5u", "\x1b[<2u"},
      {"\x1b[>1u\x1b[<u", ""},
      {"\x1b[>1u\x1b[<9u", ""},
      {"\x1b[>4;2m", "\x1b[>4m"},
      {"\x1b[>4;2m\x1b[>4;0m", ""},
      {"\x1b[>4;2m\x1b[>4m", ""},
      {"\x1b[2;20r",
       "\x1b"
       "7\x1b[r\x1b"
       "8"},
      {"\x1b[2;20r\x1b[r", ""},
      {"\x1b[?1049h\x1b[2;20r", "\x1b[r\x1b[?1049l"},
      {"\x1b[5 q", "\x1b[0 q"},
      {"\x1b[5 q\x1b[0 q", ""},
      {"\x1b[1;31m", "\x1b(B\x1b[m"},
      {"\x1b[1;31m\x1b[0m", ""},
      {"\x1b[?1049h\x1b[?25l\x1b=\x1b"
       "c",
       ""},  // RIS resets all
      {"\x1b]0;a title with [?1049h in it\x07", ""},
      {"\x1bP+q\x1b\\\x1b[?25l", "\x1b[?25h"},
      {"\x1b[?25l\x1b[", "\x1b\\\x1b[?25h"},  // cut in the middle of a sequence
      {"\x1b[\x1b[?25l", "\x1b[?25h"},
      {"\x1b[?1$p\x1b[?u\x1b[c", ""},  // queries
  };
  for (const auto& one : table) {
    EXPECT_EQ(undo_of(one.output), one.undo) << testing::PrintToString(one.output);
  }
}

TEST(TerminalModes, does_not_care_how_the_output_is_cut) {
  const std::string output = "text\x1b[?1049h\x1b[?1000;2004h\x1b]2;t\x1b\\\x1b[>4;2m\x1b[3;9r\x1b[?25lmore";
  TerminalModes whole;
  whole.feed(output);
  TerminalModes bytes;
  for (const char c : output) {
    bytes.feed(std::string_view(&c, 1));
  }
  EXPECT_FALSE(whole.undo().empty());
  EXPECT_EQ(whole.undo(), bytes.undo());
  EXPECT_EQ(whole.redo(), bytes.redo());
}

TEST(TerminalModes, redo_brings_back_what_undo_took) {
  TerminalModes modes;
  modes.feed("\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b=\x1b[>4;2m\x1b[>1u");
  TerminalModes again;
  again.feed(modes.redo());
  EXPECT_EQ(again.undo(), modes.undo());
}

TEST(TerminalModes, holds_against_any_bytes) {
  TerminalModes modes;
  std::string garbage = "\x1b[?";
  garbage.append(100'000, '9');
  garbage += "h\x1b[?;;;h\x1b[?18446744073709551617h\x1b[<99999999999u\x1b[>u\xff\x1b\xff";
  modes.feed(garbage);
  for (int i = 0; i < 100; ++i) {
    modes.feed("\x1b[>1u");
  }
  EXPECT_EQ(modes.undo(), "\x1b[<16u");
}

}  // namespace
}  // namespace hal::claudy
