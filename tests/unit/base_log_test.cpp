#include "base/log.hpp"
#include "base/names.hpp"

#include <string>

#include <gtest/gtest.h>

namespace hal::log {
namespace {

/** What `call` writes to stderr. */
template <class Call>
std::string written(Call call) {
  ::testing::internal::CaptureStderr();
  call();
  return ::testing::internal::GetCapturedStderr();
}

class Log : public ::testing::Test {
 protected:
  void SetUp() override { start("log-test"); }
  void TearDown() override { set_max_level(Level::info); }
};

TEST_F(Log, WritesProgramLevelMessageAndFields) {
  const auto line = written([] { info({{names::field_worker, "abc"}}, "worker {} runs", 7); });
  EXPECT_NE(line.find("log-test info: worker 7 runs HAL9000_WORKER=abc\n"), std::string::npos) << line;
}

TEST_F(Log, KeepsSilentBelowTheLevel) {
  EXPECT_EQ(written([] { debug({}, "detail"); }), "");
  set_max_level(Level::debug);
  EXPECT_NE(written([] { debug({}, "detail"); }), "");
  set_max_level(Level::error);
  EXPECT_EQ(written([] { warning({}, "odd"); }), "");
}

TEST_F(Log, AMessageCannotForgeALine) {
  const auto line = written([] { error({{"FIELD", "x\ny"}}, "bad\n00:00:00.000 log-test critical: forged\x1B[2J"); });
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  EXPECT_EQ(line.find('\x1B'), std::string::npos);
}

TEST_F(Log, TheMessageIdIsForTheJournalOnly) {
  const auto line = written([] { info({{"MESSAGE_ID", "00112233445566778899aabbccddeeff"}}, "started"); });
  EXPECT_EQ(line.find("MESSAGE_ID"), std::string::npos);
}

}  // namespace
}  // namespace hal::log
