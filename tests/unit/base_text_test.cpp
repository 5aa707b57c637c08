#include "base/text.hpp"

#include <limits>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace hal::text {
namespace {

TEST(ToNumber, TakesWholeDecimalNumbersOnly) {
  EXPECT_EQ(to_number<int>("42"), 42);
  EXPECT_EQ(to_number<int>("-42"), -42);
  EXPECT_EQ(to_number<std::uint64_t>("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  for (const auto* bad : {"", " 1", "1 ", "+1", "0x1", "1.0", "one", "-"}) {
    EXPECT_FALSE(to_number<int>(bad)) << bad;
  }
  EXPECT_FALSE(to_number<unsigned>("-1"));
  EXPECT_FALSE(to_number<std::uint8_t>("256"));
  EXPECT_FALSE(to_number<std::uint64_t>("18446744073709551616"));
}

TEST(Split, KeepsEmptyParts) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(split("a:b", ':'), (Parts{"a", "b"}));
  EXPECT_EQ(split("", ':'), (Parts{""}));
  EXPECT_EQ(split(":", ':'), (Parts{"", ""}));
  EXPECT_EQ(split("a::b:", ':'), (Parts{"a", "", "b", ""}));
}

TEST(Trim, RemovesBlanksAtBothEnds) {
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_EQ(trim(""), "");
}

TEST(Utf8, RefusesWhatUnicodeForbids) {
  for (const std::string_view good :
       {"", "plain", "\xC2\xA0", "\xE2\x82\xAC", "\xED\x9F\xBF", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(good)) << printable(good);
  }
  for (const std::string_view bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC2", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x82",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xE2\x28\xA1"}) {
    EXPECT_FALSE(is_utf8(bad)) << printable(bad);
  }
}

TEST(Printable, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("plain é €"), "plain é €");
  EXPECT_EQ(printable("a\nb\x1B[2J\x7F"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"
                      "2J"),
            "\\xc2\\x9b2J")
      << "U+009B starts an escape sequence";
  EXPECT_EQ(printable("\xC2\xA0"), "\xC2\xA0");
  EXPECT_EQ(printable("\xFFx\xC3"), "\\xffx\\xc3");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Printable, CutsLongText) {
  EXPECT_EQ(printable("abcdef", 3), "abc…");
  EXPECT_EQ(printable("abc", 3), "abc");
  EXPECT_EQ(printable("€€", 1), "€…") << "a character is not cut in half";
}

TEST(IsName, TakesWhatIsSafeInPathsUnitsAndLabels) {
  for (const std::string_view good : {"a", "Z9", "memory-bank", "a.b_c-d", "0"}) {
    EXPECT_TRUE(is_name(good)) << good;
  }
  EXPECT_TRUE(is_name(std::string(64, 'a')));
  EXPECT_FALSE(is_name(std::string(65, 'a')));
  for (const std::string_view bad : {"", ".", "..", ".a", "-a", "_a", "a/b", "a b", "a\n", "é", "a\xE9", "a:b"}) {
    EXPECT_FALSE(is_name(bad)) << bad;
  }
}

TEST(Random, IsHexOfTheWantedLengthAndDoesNotRepeat) {
  std::set<std::string> seen;
  std::set<std::uint64_t> numbers;
  for (int i = 0; i < 1000; ++i) {
    const auto hex = random_hex(12);
    EXPECT_EQ(hex.size(), 12U);
    EXPECT_EQ(hex.find_first_not_of("0123456789abcdef"), std::string::npos);
    seen.insert(hex);
    numbers.insert(random_u64());
  }
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_EQ(numbers.size(), 1000U);
  EXPECT_EQ(numbers.count(0), 0U);
}

}  // namespace
}  // namespace hal::text
