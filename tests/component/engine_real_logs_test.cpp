#include "component/engine_real_support.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

namespace hal::engine {
namespace {

using namespace std::chrono_literals;
using test::run_until;

class RealEngineLogs : public RealEngine {
 protected:
  worker::OperationHandle follow(const ContainerId& id, UniqueFd sink) {
    return client_->logs(id, {.follow = true}, std::move(sink), [this](Result<void> result) {
      ++ends_;
      end_ = std::move(result);
    });
  }

  std::optional<Result<void>> end_;
  int ends_ = 0;
};

TEST_F(RealEngineLogs, both_streams_arrive_in_full_and_by_the_tail) {
  const auto id = run(spec("for i in 1 2 3 4 5; do echo line $i; done; echo error >&2"));
  ASSERT_TRUE(wait_event(Kind::died, id));
  const auto all = output(id);
  EXPECT_NE(all.find("line 1\nline 2\nline 3\nline 4\nline 5\n"), std::string::npos) << all;
  EXPECT_NE(all.find("error\n"), std::string::npos) << all;
  const auto tail = output(id, {.tail = 2});
  EXPECT_EQ(std::ranges::count(tail, '\n'), 2) << tail;
  const auto stamped = output(id, {.tail = 1, .timestamps = true});
  EXPECT_TRUE(stamped.starts_with("20")) << stamped;
}

TEST_F(RealEngineLogs, following_shows_lines_as_they_come_until_the_end) {
  const test::TempDir dir;
  auto wanted = spec("echo first; while [ ! -e /go/now ]; do sleep 0.05; done; echo second");
  wanted.binds = {{dir.path(), "/go", true}};
  const auto id = run(wanted);
  auto pipe = test::make_pipe();
  const auto handle = follow(id, std::move(pipe.write));
  const PipeReader reader(loop_, std::move(pipe.read));
  ASSERT_TRUE(run_until(loop_, [&] { return reader.text == "first\n"; })) << reader.text;
  EXPECT_FALSE(end_.has_value());
  dir.write("now", "");
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value() && reader.closed; })) << reader.text;
  EXPECT_EQ(reader.text, "first\nsecond\n");
  EXPECT_TRUE(*end_) << end_->error().message;
}

TEST_F(RealEngineLogs, a_slow_reader_slows_the_engine_and_loses_nothing) {
  auto wanted = spec("head -c 3000000 /dev/zero | tr '\\0' x | fold -w 99");
  wanted.log_bytes = std::uint64_t{100} << 20;
  const auto id = run(wanted);
  ASSERT_TRUE(wait_event(Kind::died, id));
  auto pipe = test::make_pipe();
  const auto handle = follow(id, std::move(pipe.write));
  test::run_ready(loop_);
  EXPECT_FALSE(end_.has_value()) << "3 MB fit nowhere between the engine and a reader that does not read";
  const PipeReader reader(loop_, std::move(pipe.read));
  ASSERT_TRUE(run_until(
      loop_, [&] { return end_.has_value() && reader.closed; }, 30s));
  EXPECT_TRUE(*end_) << end_->error().message;
  EXPECT_EQ(reader.text.size(), 3'000'000U + 3'000'000U / 99);
  EXPECT_EQ(ends_, 1);
}

TEST_F(RealEngineLogs, it_ends_when_nobody_reads) {
  const auto id = run(spec("echo hello; sleep 600"));
  auto pipe = test::make_pipe();
  const auto handle = follow(id, std::move(pipe.write));
  bool readable = false;
  {
    const event::Io source(loop_, pipe.read.get(), EPOLLIN, "test:reader", [&](std::uint32_t) { readable = true; });
    ASSERT_TRUE(run_until(loop_, [&] { return readable; }));
  }
  EXPECT_EQ(test::read_line(pipe.read.get()), "hello");
  pipe.read.reset();
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  EXPECT_TRUE(*end_) << end_->error().message;
}

TEST_F(RealEngineLogs, destroying_the_handle_closes_the_sink_silently) {
  const auto id = run(spec("echo hello; sleep 600"));
  auto pipe = test::make_pipe();
  auto handle = follow(id, std::move(pipe.write));
  test::run_ready(loop_);
  handle.reset();
  (void)test::read_all(pipe.read.get(), 1s);
  char byte = 0;
  EXPECT_EQ(::read(pipe.read.get(), &byte, 1), 0) << "the sink is open still";
  test::run_ready(loop_);
  EXPECT_EQ(ends_, 0);
}

TEST_F(RealEngineLogs, of_a_container_that_is_not_there) {
  auto pipe = test::make_pipe();
  const auto handle = follow(ContainerId{"0123456789abcdef"}, std::move(pipe.write));
  EXPECT_FALSE(end_.has_value());
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  ASSERT_FALSE(*end_);
  EXPECT_EQ(end_->error().code, Errc::not_found);
}

}  // namespace
}  // namespace hal::engine
