#include "claudy/detach_keys.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

/** Feeds the parts one after the other; what is forwarded, and "!" where it detaches. */
std::string type(DetachKeys& keys, const std::vector<std::string>& parts) {
  std::string result;
  for (const auto& part : parts) {
    const auto output = keys.feed(part);
    result += output.forward;
    if (output.detached) {
      return result + "!";
    }
  }
  return result;
}

struct Case {
  const char* spec;
  std::vector<std::string> parts;
  std::string result;
};

TEST(DetachKeys, finds_the_sequence_in_whatever_parts_it_comes) {
  const Case table[] = {
      {"ctrl-],d", {"abc"}, "abc"},
      {"ctrl-],d", {"abc\x1d"}, "abc"},  // held back
      {"ctrl-],d", {"abc\x1d", "d", "more"}, "abc!"},
      {"ctrl-],d",
       {"abc\x1d"
        "dxyz"},
       "abc!"},
      {"ctrl-],d", {"\x1d", "x"}, "\x1dx"},
      {"ctrl-],d", {"\x1d\x1d", "d"}, "\x1d!"},
      {"ctrl-],d", {"\x1d\x1d\x1d", "x"}, "\x1d\x1d\x1dx"},
      {"ctrl-],d", {"d"}, "d"},
      {"ctrl-],d", {""}, ""},
      {"ctrl-p,ctrl-q", {"\x10\x11"}, "!"},
      {"a,a,b", {"aaab"}, "a!"},
      {"a,a,b", {"a", "a", "a", "b"}, "a!"},
      {"a,b,a,c", {"ababac"}, "ab!"},
      {"ctrl-@", {std::string("x\0y", 3)}, "x!"},
      {"none",
       {"\x1d", "d"},
       "\x1d"
       "d"},
  };
  for (const auto& one : table) {
    auto keys = DetachKeys::parse(one.spec);
    ASSERT_TRUE(keys) << one.spec;
    EXPECT_EQ(type(*keys, one.parts), one.result) << one.spec << " " << one.parts.front();
  }
}

TEST(DetachKeys, knows_extended_keys) {
  for (const char* control : {"\x1b[93;5u", "\x1b[27;5;93~"}) {
    auto keys = DetachKeys::parse("ctrl-],d");
    EXPECT_EQ(type(*keys, {control, "d"}), "!") << control;
    keys = DetachKeys::parse("ctrl-],d");
    EXPECT_EQ(type(*keys, {control, "x"}), std::string(control) + "x");
  }
  auto letters = DetachKeys::parse("ctrl-p,ctrl-q");
  EXPECT_EQ(type(*letters, {"\x1b[112;5u\x1b[113;5u"}), "!");
}

TEST(DetachKeys, never_holds_back_an_escape) {
  auto keys = DetachKeys::parse(DetachKeys::default_spec);
  EXPECT_EQ(keys->feed("\x1b").forward, "\x1b");
  EXPECT_EQ(keys->feed("\x1b[").forward, "\x1b[");
}

TEST(DetachKeys, passes_large_pastes) {
  auto keys = DetachKeys::parse(DetachKeys::default_spec);
  const std::string paste(1 << 20, 'x');
  EXPECT_EQ(keys->feed(paste).forward, paste);
}

TEST(DetachKeys, refuses_what_is_no_key) {
  for (const char* spec :
       {"", ",", "ctrl-", "ctrl-]]", "ctrl-A", "ctrl-1", "ab", "alt-x", " ", "a,,b", "a,b,c,d,e,f,g,h,i"}) {
    EXPECT_FALSE(DetachKeys::parse(spec)) << spec;
  }
}

TEST(DetachKeys, describes_itself) {
  EXPECT_EQ(DetachKeys::parse("ctrl-],d")->describe(), "Ctrl-] d");
  EXPECT_EQ(DetachKeys::parse("ctrl-p,ctrl-q")->describe(), "Ctrl-P Ctrl-Q");
  EXPECT_EQ(DetachKeys::parse("none")->describe(), "");
}

}  // namespace
}  // namespace hal::claudy
