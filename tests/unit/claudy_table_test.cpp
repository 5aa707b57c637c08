#include "claudy/table.hpp"

#include <clocale>

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

TEST(Table, aligns_columns_and_does_not_pad_the_last) {
  Table table({"NAME", "STATE"});
  table.add({"a-long-name", "up"});
  table.add({"b", ""});
  EXPECT_EQ(table.text(),
            "NAME         STATE\n"
            "a-long-name  up\n"
            "b            -\n");
}

TEST(Table, without_rows_is_its_header) {
  EXPECT_EQ(Table({"A", "B"}).text(), "A  B\n");
}

TEST(Table, shows_no_control_characters) {
  Table table({"NAME", "X"});
  table.add({"evil\x1b[2J", "y"});
  EXPECT_EQ(table.text(),
            "NAME         X\n"
            "evil\\x1b[2J  y\n");
}

TEST(Table, aligns_by_what_the_terminal_shows) {
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) {
    GTEST_SKIP() << "no UTF-8 locale";
  }
  EXPECT_EQ(display_width("äö"), 2U);
  EXPECT_EQ(display_width("漢字"), 4U);
  EXPECT_EQ(display_width("e\u0301"), 1U);  // a combining accent
  Table table({"N", "X"});
  table.add({"漢字", "y"});
  EXPECT_EQ(table.text(), "N     X\n漢字  y\n");
  (void)std::setlocale(LC_CTYPE, "C");
}

TEST(Table, counts_characters_without_a_locale) {
  (void)std::setlocale(LC_CTYPE, "C");
  EXPECT_EQ(display_width("äö"), 2U);
  EXPECT_EQ(display_width("abc"), 3U);
}

TEST(Pairs, puts_values_below_each_other) {
  EXPECT_EQ(pairs({{"id", "1"}, {"longer", ""}}), "id:      1\nlonger:  -\n");
}

}  // namespace
}  // namespace hal::claudy
