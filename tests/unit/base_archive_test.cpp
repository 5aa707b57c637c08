#include "base/archive.hpp"

#include <fcntl.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include <gtest/gtest.h>

namespace hal {
namespace {

using namespace std::chrono_literals;
using Time = std::chrono::steady_clock::time_point;

enum class Colour { red, green };

struct Inner {
  std::string name;
  std::optional<int> level;
  bool set = false;

  template <class Archive>
  void keep(Archive& archive) {
    archive(name, level, set);
  }
  bool operator==(const Inner&) const = default;
};

struct Outer {
  std::map<WorkerId, Inner> inner;
  std::unordered_map<std::string, std::uint64_t> numbers;
  std::multiset<std::string> texts;
  std::deque<std::pair<std::string, InstanceId>> pairs;
  std::array<std::uint64_t, 3> counts{};
  Colour colour = Colour::red;
  Time when;
  std::unique_ptr<Inner> one;
  std::unique_ptr<Inner> none;

  template <class Archive>
  void keep(Archive& archive) {
    archive(inner, numbers, texts, pairs, counts, colour, when, one, none);
  }
};

Outer example() {
  Outer outer;
  outer.inner = {{{"a"}, {"first", -3, true}}, {{"b"}, {std::string("\0\n\xff", 3), {}, false}}};
  outer.numbers = {{"x", UINT64_MAX}, {"y", 0}};
  outer.texts = {"same", "same"};
  outer.pairs = {{"p", {7}}};
  outer.counts = {1, 2, 3};
  outer.colour = Colour::green;
  outer.when = Time(123456789ns);
  outer.one = std::make_unique<Inner>(Inner{"one", 1, true});
  return outer;
}

std::string saved() {
  auto outer = example();
  Saver saver;
  saver(outer);
  return saver.bytes();
}

TEST(Archive, what_was_saved_is_there_again) {
  const auto bytes = saved();
  Loader loader(bytes, {});
  Outer outer;
  outer.none = std::make_unique<Inner>();
  loader(outer);
  EXPECT_TRUE(loader.complete());
  const auto expected = example();
  EXPECT_EQ(outer.inner, expected.inner);
  EXPECT_EQ(outer.numbers, expected.numbers);
  EXPECT_EQ(outer.texts, expected.texts);
  EXPECT_EQ(outer.pairs, expected.pairs);
  EXPECT_EQ(outer.counts, expected.counts);
  EXPECT_EQ(outer.colour, expected.colour);
  EXPECT_EQ(outer.when, expected.when);
  EXPECT_EQ(*outer.one, *expected.one);
  EXPECT_EQ(outer.none, nullptr);
}

TEST(Archive, cut_at_any_byte_it_is_broken_and_what_is_read_stays_small) {
  const auto bytes = saved();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Loader loader(std::string_view(bytes).substr(0, size), {});
    Outer outer;
    loader(outer);
    EXPECT_TRUE(loader.failed()) << size;
    EXPECT_EQ(loader.number(), 0U);
    EXPECT_EQ(loader.text(), "");
  }
  Loader longer(bytes, {});
  Inner inner;
  longer(inner);
  EXPECT_FALSE(longer.complete()) << "something is left";
}

TEST(Archive, counts_and_numbers_that_cannot_be_are_refused) {
  const auto refused = [](std::uint64_t number, auto value) {
    Saver saver;
    saver.number(number);
    Loader loader(saver.bytes(), {});
    loader(value);
    return loader.failed();
  };
  EXPECT_TRUE(refused(2, false));
  EXPECT_TRUE(refused(std::uint64_t{1} << 32, int{}));
  EXPECT_TRUE(refused(UINT64_MAX, std::string()));
  EXPECT_TRUE(refused(UINT64_MAX, std::vector<Inner>()));
  EXPECT_TRUE(refused(UINT64_MAX / 2, Time()));
  EXPECT_TRUE(refused(1, UniqueFd()));
  EXPECT_FALSE(refused(0, UniqueFd()));
}

TEST(Archive, each_descriptor_is_taken_once) {
  const UniqueFd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  Saver saver;
  saver.descriptor(fd);
  saver.descriptor(UniqueFd());
  saver.number(1);
  ASSERT_EQ(saver.descriptors(), std::vector<int>{fd.get()});
  std::vector<UniqueFd> passed;
  passed.push_back(fd.duplicate());
  const int number = passed[0].get();
  Loader loader(saver.bytes(), std::move(passed));
  EXPECT_EQ(loader.descriptor().get(), number);
  EXPECT_FALSE(loader.descriptor());
  EXPECT_FALSE(loader.failed());
  EXPECT_FALSE(loader.descriptor());
  EXPECT_TRUE(loader.failed());
}

}  // namespace
}  // namespace hal
