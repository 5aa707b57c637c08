#include "io/pieces.hpp"

#include <sys/uio.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace hal::io {
namespace {

constexpr std::size_t large = 512 * 1024;

std::string all_of(const Pieces& pieces) {
  std::string text(pieces.size() + 1, '\0');
  text.resize(pieces.copy(0, text));
  return text;
}

/** The addresses of the pieces. */
std::vector<const char*> places_of(const Pieces& pieces) {
  std::vector<iovec> vector(pieces.count());
  EXPECT_EQ(pieces.fill(vector), vector.size());
  std::vector<const char*> places;
  for (const auto& place : vector) {
    places.push_back(static_cast<const char*>(place.iov_base));
  }
  return places;
}

TEST(Pieces, keep_their_order_whatever_is_consumed) {
  Pieces pieces;
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    const std::string text(static_cast<std::size_t>(i * 37 % 500), static_cast<char>('a' + i % 26));
    pieces.append(text);
    expected += text;
    const auto consumed = std::min<std::size_t>(expected.size(), static_cast<std::size_t>(i * 53 % 700));
    if (i % 3 == 0) {
      pieces.consume(consumed);
      expected.erase(0, consumed);
    }
    ASSERT_EQ(pieces.size(), expected.size());
    ASSERT_EQ(pieces.empty(), expected.empty());
  }
  EXPECT_EQ(all_of(pieces), expected);
  pieces.consume(pieces.size());
  EXPECT_EQ(pieces.count(), 0U);
  pieces.append("again");
  EXPECT_EQ(all_of(pieces), "again");
}

TEST(Pieces, small_parts_are_one_piece) {
  const std::array parts{std::string_view("a"), std::string_view(""), std::string_view("bc")};
  const Pieces pieces{parts};
  EXPECT_EQ(pieces.count(), 1U);
  EXPECT_EQ(all_of(pieces), "abc");
  EXPECT_EQ(Pieces{std::string()}.count(), 0U);
}

TEST(Pieces, copy_from_any_offset) {
  Pieces pieces(std::string(70'000, 'a'));
  pieces.append(std::string(70'000, 'b'));
  pieces.consume(69'999);
  std::string text(3, '\0');
  EXPECT_EQ(pieces.copy(0, text), 3U);
  EXPECT_EQ(text, "abb");
  EXPECT_EQ(pieces.copy(pieces.size() - 2, text), 2U);
  EXPECT_EQ(pieces.copy(pieces.size(), text), 0U);
}

TEST(Loan, what_nobody_keeps_is_consumed) {
  ByteBuffer buffer;
  buffer.append("one two");
  { const Loan loan(buffer, 4); }
  EXPECT_EQ(buffer.view(), "two");
}

TEST(Loan, a_large_part_stays_where_it_is_and_the_rest_goes_on) {
  Pieces first;
  Pieces second;
  ByteBuffer buffer;
  buffer.append("id" + std::string(large, 'x') + "\nrest");
  const char* const place = buffer.view().data() + 2;
  {
    const Loan loan(buffer, large + 3);
    const auto line = buffer.view().substr(0, large + 2);
    const std::array parts{std::string_view("ID"), line.substr(2)};
    first.append(parts);
    second.append(parts);  // another receiver
  }
  EXPECT_EQ(buffer.view(), "rest");
  buffer.append(" of it");
  buffer.consume(buffer.size());
  for (auto* pieces : {&first, &second}) {
    EXPECT_EQ(places_of(*pieces).at(1), place);
    EXPECT_EQ(all_of(*pieces), "ID" + std::string(large, 'x'));
    pieces->append("\n");
    pieces->consume(large);
    EXPECT_EQ(all_of(*pieces), "xx\n");
    pieces->consume(3);
  }
}

TEST(Loan, what_is_not_worth_it_is_copied) {
  ByteBuffer buffer;
  buffer.append(std::string(8 * large, 'x'));
  const std::string elsewhere(large, 'y');
  Pieces pieces;
  {
    const Loan loan(buffer, large);
    const auto handed_on = buffer.view();
    EXPECT_EQ(Loan::kept(handed_on.substr(0, large)), nullptr) << "it would keep eight times as much";
    EXPECT_EQ(Loan::kept(elsewhere), nullptr);
  }
  buffer.consume(buffer.size());
  ByteBuffer small;
  small.append(std::string(4096, 'x'));
  const Loan loan(small, 4096);
  EXPECT_EQ(Loan::kept(small.view()), nullptr);
}

TEST(Loan, what_stands_behind_it_is_not_on_loan) {
  ByteBuffer buffer;
  buffer.append(std::string(2 * large, 'x'));
  const Loan loan(buffer, large);
  EXPECT_EQ(Loan::kept(buffer.view()), nullptr);
  EXPECT_EQ(Loan::kept(buffer.view().substr(large)), nullptr);
  EXPECT_NE(Loan::kept(buffer.view().substr(0, large)), nullptr);
}

TEST(Loan, loans_within_loans) {
  ByteBuffer outer;
  ByteBuffer inner;
  outer.append(std::string(large, 'o'));
  inner.append(std::string(large, 'i'));
  const auto of_outer = outer.view();
  const auto of_inner = inner.view();
  Pieces pieces;
  {
    const Loan first(outer, large);
    {
      const Loan second(inner, large);
      pieces.append(of_outer);
      pieces.append(of_inner);
    }
    EXPECT_EQ(Loan::kept(of_inner), nullptr) << "its loan is over";
    EXPECT_NE(Loan::kept(of_outer), nullptr);
  }
  EXPECT_TRUE(outer.empty() && inner.empty());
  EXPECT_EQ(all_of(pieces), std::string(large, 'o') + std::string(large, 'i'));
}

}  // namespace
}  // namespace hal::io
