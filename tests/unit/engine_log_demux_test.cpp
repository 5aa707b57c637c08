#include "engine/log_demux.hpp"

#include <string>

#include <gtest/gtest.h>

namespace hal::engine {
namespace {

std::string frame(char stream, std::string_view payload) {
  const auto size = payload.size();
  std::string bytes{stream, '\0', '\0', '\0'};
  for (const int shift : {24, 16, 8, 0}) {
    bytes += static_cast<char>(size >> shift & 0xff);
  }
  return bytes.append(payload);
}

struct Outcome {
  std::string text;
  std::optional<Error> error;
  bool at_border = false;
  std::string engine_error;
};

/** Shows the demultiplexer `pieces` bytes at a time and takes `bites` of each payload. */
Outcome demux(std::string_view bytes, std::size_t pieces, std::size_t bites) {
  LogDemux demux;
  Outcome outcome;
  for (std::size_t at = 0; at < bytes.size() && !outcome.error; at += pieces) {
    auto input = bytes.substr(at, pieces);
    while (!input.empty()) {
      const auto piece = demux.next(input);
      if (!piece) {
        outcome.error = piece.error();
        break;
      }
      const auto bite = std::min(bites, piece->payload.size());
      outcome.text += piece->payload.substr(0, bite);
      demux.took(bite);
      input.remove_prefix(piece->skipped + bite);
    }
  }
  outcome.at_border = demux.at_border();
  outcome.engine_error = demux.engine_error();
  return outcome;
}

TEST(LogDemux, gives_the_same_text_however_it_is_cut) {
  const auto bytes = frame(1, "one\n") + frame(2, "") + frame(2, "two\n") + frame(1, std::string(300, 'x'));
  const auto expected = "one\ntwo\n" + std::string(300, 'x');
  for (std::size_t pieces = 1; pieces <= bytes.size(); ++pieces) {
    for (const std::size_t bites : {1U, 7U, 1000U}) {
      const auto outcome = demux(bytes, pieces, bites);
      ASSERT_FALSE(outcome.error) << outcome.error->message;
      ASSERT_EQ(outcome.text, expected) << pieces << " bytes at a time";
      ASSERT_TRUE(outcome.at_border);
    }
  }
}

TEST(LogDemux, knows_whether_it_is_inside_a_frame) {
  const auto bytes = frame(1, "text");
  for (std::size_t length = 0; length <= bytes.size(); ++length) {
    EXPECT_EQ(demux(bytes.substr(0, length), 100, 100).at_border, length == 0 || length == bytes.size()) << length;
  }
}

TEST(LogDemux, refuses_what_is_no_frame) {
  for (const auto& bytes : {std::string("plain text of a terminal"), std::string("\x04\0\0\0\0\0\0\x01x", 9),
                            std::string("\x01\0\x01\0\0\0\0\x01x", 9), std::string("\x01\0\0\0\x7f\xff\xff\xff", 8)}) {
    const auto outcome = demux(bytes, bytes.size(), 100);
    ASSERT_TRUE(outcome.error);
    EXPECT_EQ(outcome.error->code, Errc::protocol);
    EXPECT_EQ(outcome.text, "");
  }
}

TEST(LogDemux, keeps_the_engines_own_error_apart_and_bounded) {
  const auto bytes = frame(1, "text") + frame(3, "cannot read the log") + frame(3, std::string(100'000, 'e'));
  for (const std::size_t pieces : {1U, 5U, 200'000U}) {
    const auto outcome = demux(bytes, pieces, 1000);
    ASSERT_FALSE(outcome.error);
    EXPECT_EQ(outcome.text, "text");
    EXPECT_TRUE(outcome.engine_error.starts_with("cannot read the log"));
    EXPECT_EQ(outcome.engine_error.size(), LogDemux::max_error_bytes);
    EXPECT_TRUE(outcome.at_border);
  }
}

}  // namespace
}  // namespace hal::engine
