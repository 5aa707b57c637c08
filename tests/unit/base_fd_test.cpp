#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <type_traits>
#include <unordered_set>
#include <utility>

#include <gtest/gtest.h>

namespace hal {
namespace {

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

UniqueFd open_null() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

TEST(UniqueFd, ClosesWhatItOwns) {
  int fd = -1;
  {
    const auto owner = open_null();
    fd = owner.get();
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFd, MovesOwnership) {
  auto first = open_null();
  const int fd = first.get();
  UniqueFd second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): what a moved-from owner holds is the question
  EXPECT_EQ(second.get(), fd);
  auto third = open_null();
  const int replaced = third.get();
  third = std::move(second);
  EXPECT_FALSE(is_open(replaced));
  EXPECT_EQ(third.get(), fd);
  auto& same = third;
  third = std::move(same);
  EXPECT_TRUE(is_open(fd)) << "assigning to itself closed it";
}

TEST(UniqueFd, ReleaseGivesUpOwnership) {
  auto owner = open_null();
  const int fd = owner.release();
  EXPECT_FALSE(owner);
  EXPECT_TRUE(is_open(fd));
  ::close(fd);
}

TEST(UniqueFd, DuplicateIsCloseOnExecAndNeverAStandardStream) {
  const auto owner = open_null();
  const auto copy = owner.duplicate();
  ASSERT_TRUE(copy);
  EXPECT_NE(copy.get(), owner.get());
  EXPECT_GT(copy.get(), 2);
  EXPECT_NE(::fcntl(copy.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_FALSE(UniqueFd().duplicate());
}

TEST(StrongId, ComparesAndHashesByValueWithinItsKind) {
  const WorkerId a{"a"};
  EXPECT_EQ(a, WorkerId{"a"});
  EXPECT_LT(a, WorkerId{"b"});
  EXPECT_EQ((std::unordered_set<WorkerId>{a, {"a"}, {"b"}}).size(), 2U);
  static_assert(!std::is_convertible_v<WorkerId, ContainerId>);
}

}  // namespace
}  // namespace hal
