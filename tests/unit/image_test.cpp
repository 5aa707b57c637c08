#include "base/names.hpp"
#include "image/build_output.hpp"
#include "image/catalog.hpp"

#include <gtest/gtest.h>

namespace hal::image {
namespace {

TEST(BuildOutput, TellsTheLastStepOfWhatCame) {
  BuildOutput output;
  EXPECT_FALSE(output.feed("hal9000/parent:1 is up to date\n@2"));
  EXPECT_FALSE(output.feed("5 fetches Claude"));
  const auto step = output.feed(" Code\n@50 next\nbuilt one\n");
  ASSERT_TRUE(step);
  EXPECT_EQ(step->message, "next");
  EXPECT_DOUBLE_EQ(step->fraction, 0.5);
  EXPECT_EQ(output.last_lines(), "hal9000/parent:1 is up to date; built one");
}

TEST(BuildOutput, TakesForAStepOnlyWhatIsOne) {
  BuildOutput output;
  for (const auto* line : {"@101 x\n", "@ x\n", "@-1 x\n", "@5\n", "x@5 y\n", "@1e1 x\n", "\n"}) {
    EXPECT_FALSE(output.feed(line)) << line;
  }
  const auto step = output.feed("@7 a\x1b[31mb\tc\n");
  ASSERT_TRUE(step);
  EXPECT_EQ(step->message.find('\x1b'), std::string::npos);
}

TEST(BuildOutput, KeepsTheLastLinesWhateverComes) {
  BuildOutput output;
  for (int i = 0; i < 100'000; ++i) {
    (void)output.feed("line " + std::to_string(i) + "\n");
  }
  (void)output.feed(std::string(10'000'000, 'x'));
  (void)output.feed("\nbuild.sh: the end");
  const auto last = output.last_lines();
  EXPECT_TRUE(last.ends_with("; build.sh: the end") || last.ends_with("build.sh: the end")) << last;
  EXPECT_LT(last.size(), 1000U);
}

TEST(Generations, AreNamesAndWords) {
  const auto read = read_generations("parent 34cb23d8\nworker-node b4e92aea\n");
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, (Generations{{"parent", "34cb23d8"}, {"worker-node", "b4e92aea"}}));
  EXPECT_TRUE(read_generations("")->empty());
  for (const auto* bad : {"parent\n", "parent \n", "../x 1\n", "a b c\n", "a /\n"}) {
    EXPECT_FALSE(read_generations(bad)) << bad;
  }
  std::string many;
  for (int i = 0; i < 1000; ++i) {
    many += "image" + std::to_string(i) + " 1\n";
  }
  EXPECT_FALSE(read_generations(many));
}

TEST(Catalog, KnowsItsOwnNames) {
  EXPECT_EQ(own_name("hal9000/parent", "1.2"), "parent");
  EXPECT_EQ(own_name("hal9000/parent:latest", "1.2"), "parent");
  EXPECT_EQ(own_name("hal9000/parent:1.2", "1.2"), "parent");
  for (const auto* other : {"hal9000/parent:1.1", "parent", "docker.io/hal9000/parent", "hal9000", ""}) {
    EXPECT_EQ(own_name(other, "1.2"), "") << other;
  }
}

TEST(Catalog, TellsWhatThereIs) {
  worker::ImageInfo info{"sha256:1", {{names::label_image, "parent"}, {names::label_generation, "g1"}}, 7};
  EXPECT_EQ(describe("hal9000/parent", info, "g1").state, "current");
  EXPECT_EQ(describe("hal9000/parent", info, "").state, "current") << "nothing is known that it should be";
  const auto stale = describe("hal9000/parent", info, "g2");
  EXPECT_EQ(stale.state + stale.generation + stale.wanted, "staleg1g2");
  EXPECT_EQ(stale.size_bytes, 7U);
  info.labels.erase(names::label_image);
  EXPECT_EQ(describe("busybox", info, "").state, "foreign");
  const auto missing = describe("hal9000/parent", Error{Errc::not_found, "No such image"}, "g2");
  EXPECT_EQ(missing.state + missing.id, "missing");
}

}  // namespace
}  // namespace hal::image
