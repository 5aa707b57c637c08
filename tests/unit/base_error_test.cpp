#include "base/error.hpp"
#include "base/result.hpp"

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

namespace hal {
namespace {

TEST(Error, EveryCodeHasAnUnambiguousName) {
  std::set<std::string_view> names;
  for (const auto code : all_errcs) {
    names.insert(name(code));
  }
  EXPECT_EQ(names.size(), std::size(all_errcs));
  EXPECT_EQ(names.count("unknown"), 0U);
  EXPECT_EQ(std::size(all_errcs), static_cast<std::size_t>(Errc::internal) + 1) << "a code is missing in all_errcs";
}

TEST(Error, ContextStandsBeforeTheMessageAndKeepsTheCode) {
  const Error error{Errc::denied, "not yours"};
  const auto outer = error.with("worker 1");
  EXPECT_EQ(outer.code, Errc::denied);
  EXPECT_EQ(outer.message, "worker 1: not yours");
}

TEST(Error, CodesFollowFromErrno) {
  EXPECT_EQ(errno_error("open", ENOENT).code, Errc::not_found);
  EXPECT_EQ(errno_error("open", EACCES).code, Errc::denied);
  EXPECT_EQ(errno_error("open", EEXIST).code, Errc::already_exists);
  EXPECT_EQ(errno_error("open", EMFILE).code, Errc::limit);
  EXPECT_EQ(errno_error("send", EAGAIN).code, Errc::busy);
  EXPECT_EQ(errno_error("send", EPIPE).code, Errc::disconnected);
  EXPECT_EQ(errno_error("connect", ECONNREFUSED).code, Errc::unavailable);
  EXPECT_EQ(errno_error("open", ELOOP).code, Errc::invalid_argument);
  EXPECT_EQ(errno_error("open", EIO).code, Errc::internal);
  EXPECT_EQ(errno_error("open /x", ENOENT).message, "open /x: No such file or directory");
}

TEST(Error, ThrowsWithTheSystemsCode) {
  try {
    throw_errno("pipe2", EMFILE);
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), EMFILE);
    EXPECT_EQ(std::string(error.what()).rfind("pipe2", 0), 0U);
    return;
  }
  FAIL() << "nothing was thrown";
}

TEST(Result, HoldsAValueOrAnError) {
  const Result<int> good(7);
  ASSERT_TRUE(good);
  EXPECT_EQ(*good, 7);
  EXPECT_EQ(good.value_or(1), 7);
  const Result<int> bad(Error{Errc::busy, "later"});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message, "later");
  EXPECT_EQ(bad.value_or(1), 1);
  EXPECT_TRUE(Result<void>());
  EXPECT_FALSE(Result<void>(Error{Errc::busy, "later"}));
}

TEST(Result, GivesAwayWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(3));
  const std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 3);
}

TEST(ResultDeathTest, ReadingTheWrongSideAsserts) {
  EXPECT_DEATH((void)Result<int>(Error{Errc::busy, "later"}).value(), "has_value");
  EXPECT_DEATH((void)Result<int>(1).error(), "has_value");
}

}  // namespace
}  // namespace hal
