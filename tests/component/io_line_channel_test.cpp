#include "io/line_channel.hpp"
#include "io/listener.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::io {
namespace {

using namespace std::chrono_literals;

/** A channel under test, the raw end of its peer, and a record of what it reported. */
class LineChannelTest : public ::testing::Test {
 protected:
  void open(std::size_t max_line_bytes = limits::mcp_line_bytes) {
    auto pair = socket_pair(SOCK_STREAM);
    ASSERT_TRUE(pair);
    peer_ = std::move(pair->theirs);
    channel_ = std::make_unique<LineChannel>(loop_, std::move(pair->ours), "test", callbacks(), max_line_bytes);
  }

  void open_pipes() {
    auto in = test::make_pipe();
    auto out = test::make_pipe();
    peer_out_ = std::move(in.write);
    peer_ = std::move(out.read);
    channel_ = std::make_unique<LineChannel>(loop_, std::move(in.read), std::move(out.write), "test", callbacks());
  }

  LineChannel::Callbacks callbacks() {
    return {.on_line =
                [this](std::string_view line) {
                  lines_.emplace_back(line);
                  if (in_line_) {
                    in_line_();
                  }
                },
            .on_overlong =
                [this](std::size_t bytes) {
                  overlong_.push_back(bytes);
                  if (in_overlong_) {
                    in_overlong_();
                  }
                },
            .on_closed =
                [this](const Error& error) {
                  closed_.push_back(error.code);
                  if (in_closed_) {
                    in_closed_();
                  }
                  last_error_ = error.message;
                },
            .on_drained =
                [this] {
                  ++drained_;
                  if (in_drained_) {
                    in_drained_();
                  }
                }};
  }

  void say(std::string_view bytes) {
    const int fd = peer_out_ ? peer_out_.get() : peer_.get();
    ASSERT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }

  /** Writes as much as is needed while the loop reads. */
  void say_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(peer_.get(), bytes.data(), bytes.size());
      if (written > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(written));
      } else {
        ASSERT_EQ(errno, EAGAIN);
        ASSERT_TRUE(loop_.run_once(test::scaled(10s)));
      }
    }
  }

  /** Reads from the peer's end while the loop writes, until `size` bytes have come. */
  std::string hear(std::size_t size) {
    std::string heard;
    EXPECT_TRUE(test::run_until(loop_, [&] {
      char buffer[65536];
      for (ssize_t bytes = 0; heard.size() < size && (bytes = ::read(peer_.get(), buffer, sizeof buffer)) > 0;) {
        heard.append(buffer, static_cast<std::size_t>(bytes));
      }
      return heard.size() >= size;
    }));
    return heard;
  }

  bool until_lines(std::size_t count) {
    return test::run_until(loop_, [&] { return lines_.size() >= count; });
  }
  bool until_closed() {
    return test::run_until(loop_, [&] { return !closed_.empty(); });
  }

  event::Loop loop_;
  UniqueFd peer_;
  /** Set for a pair of pipes: what the peer writes to. */
  UniqueFd peer_out_;
  std::vector<std::string> lines_;
  std::vector<std::size_t> overlong_;
  std::vector<Errc> closed_;
  std::string last_error_;
  int drained_ = 0;
  std::function<void()> in_line_;
  std::function<void()> in_overlong_;
  std::function<void()> in_closed_;
  std::function<void()> in_drained_;
  std::unique_ptr<LineChannel> channel_;
};

using Lines = std::vector<std::string>;

TEST_F(LineChannelTest, DeliversLinesHoweverTheyArrive) {
  open();
  say("on");
  test::run_ready(loop_);
  EXPECT_TRUE(lines_.empty());
  say("e\ntwo\r\n\n\r\nth");
  ASSERT_TRUE(until_lines(2));
  say("ree\n");
  ASSERT_TRUE(until_lines(3));
  EXPECT_EQ(lines_, (Lines{"one", "two", "three"}));
}

TEST_F(LineChannelTest, DeliversTheLastLinesBeforeTheEnd) {
  open();
  say("one\ntwo\nhalf");
  peer_.reset();
  ASSERT_TRUE(until_closed());
  EXPECT_EQ(lines_, (Lines{"one", "two"}));
  EXPECT_EQ(closed_, std::vector{Errc::disconnected});
  EXPECT_FALSE(channel_->open());
  EXPECT_EQ(channel_->write_line("late").error().code, Errc::disconnected);
}

TEST_F(LineChannelTest, WritesLinesAndParts) {
  open();
  ASSERT_TRUE(channel_->write_line("one"));
  ASSERT_TRUE(channel_->write_line({"a", "", "bc"}));
  EXPECT_EQ(hear(8), "one\nabc\n");
  EXPECT_EQ(drained_, 0) << "what is written at once never waited";
}

TEST_F(LineChannelTest, DropsAnOverlongLineAndReadsTheNext) {
  open(10);
  say("0123456789\n01234567890\nnext\n");
  ASSERT_TRUE(until_lines(2));
  EXPECT_EQ(lines_, (Lines{"0123456789", "next"}));
  EXPECT_EQ(overlong_, std::vector<std::size_t>{11});
}

TEST_F(LineChannelTest, AnOverlongLineIsNotBuffered) {
  constexpr std::size_t total = 32 << 20;
  open(1 << 20);
  say_all(std::string(total, 'x'));
  say_all("\nnext\n");
  ASSERT_TRUE(until_lines(1));
  EXPECT_EQ(lines_, Lines{"next"});
  EXPECT_EQ(overlong_, std::vector{total});
}

TEST_F(LineChannelTest, TakesLinesOfEightMebibytesBothWaysAtOnce) {
  open();
  constexpr std::size_t size = 8 << 20;
  std::string there(size, 'a');
  there[size / 2] = 'A';
  std::string back(size, 'b');
  back[size - 1] = 'B';
  ASSERT_TRUE(channel_->write_line(back));
  std::string heard;
  std::string_view rest = there;
  bool newline = false;
  char buffer[65536];
  ASSERT_TRUE(test::run_until(loop_, [&] {
    for (ssize_t bytes = 0; (bytes = ::read(peer_.get(), buffer, sizeof buffer)) > 0;) {
      heard.append(buffer, static_cast<std::size_t>(bytes));
    }
    for (ssize_t bytes = 0; !rest.empty() && (bytes = ::write(peer_.get(), rest.data(), rest.size())) > 0;) {
      rest.remove_prefix(static_cast<std::size_t>(bytes));
    }
    newline = newline || (rest.empty() && ::write(peer_.get(), "\n", 1) == 1);
    return heard.size() == size + 1 && lines_.size() == 1;
  }));
  EXPECT_TRUE(lines_[0] == there);
  EXPECT_TRUE(heard == back + "\n");
  EXPECT_EQ(drained_, 1);
  EXPECT_EQ(channel_->queued_bytes(), 0U);
}

TEST_F(LineChannelTest, RefusesToQueueForAPeerThatDoesNotRead) {
  open();
  const std::string line(1 << 20, 'x');
  Result<void> result;
  std::size_t accepted = 0;
  while ((result = channel_->write_line(line))) {
    ++accepted;
    ASSERT_LT(accepted, 200U);
  }
  EXPECT_EQ(result.error().code, Errc::limit);
  EXPECT_LE(channel_->queued_bytes(), limits::peer_queue_bytes);
  EXPECT_GE(accepted, 78U);
  EXPECT_TRUE(channel_->open()) << "the channel itself goes on";
  const auto heard = hear(accepted * (line.size() + 1));
  EXPECT_EQ(heard.size(), accepted * (line.size() + 1)) << "the refused line leaves no trace";
  EXPECT_TRUE(channel_->write_line("again"));
  EXPECT_EQ(hear(6), "again\n");
}

TEST_F(LineChannelTest, PauseInALineStopsDeliveryAtOnce) {
  open();
  in_line_ = [this] { channel_->pause(); };
  say("one\ntwo\nthree\n");
  ASSERT_TRUE(until_lines(1));
  test::run_ready(loop_);
  EXPECT_EQ(lines_, Lines{"one"});
  channel_->resume();
  EXPECT_EQ(lines_.size(), 1U) << "never from inside the call";
  ASSERT_TRUE(until_lines(2));
  test::run_ready(loop_);
  EXPECT_EQ(lines_, (Lines{"one", "two"}));
  in_line_ = nullptr;
  channel_->resume();
  ASSERT_TRUE(until_lines(3));
}

TEST_F(LineChannelTest, PauseAndResumeInALineLosesNothing) {
  open();
  in_line_ = [this] {
    channel_->pause();
    channel_->resume();
  };
  say("one\ntwo\nthree\n");
  ASSERT_TRUE(until_lines(3));
  test::run_ready(loop_);
  EXPECT_EQ(lines_, (Lines{"one", "two", "three"}));
}

TEST_F(LineChannelTest, APausedChannelLeavesItsProducerWaiting) {
  open();
  channel_->pause();
  const std::string chunk(65536, 'x');
  std::size_t sent = 0;
  while (::write(peer_.get(), chunk.data(), chunk.size()) > 0) {
    sent += chunk.size();
    ASSERT_LT(sent, std::size_t{16} << 20) << "a paused channel reads on";
    test::run_ready(loop_);
  }
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(LineChannelTest, ReportsTheEndOnlyAfterThePausedLines) {
  open();
  in_line_ = [this] { channel_->pause(); };
  say("one\ntwo\n");
  peer_.reset();
  ASSERT_TRUE(until_lines(1));
  test::run_ready(loop_);
  EXPECT_TRUE(closed_.empty());
  channel_->resume();
  ASSERT_TRUE(until_lines(2));
  test::run_ready(loop_);
  EXPECT_TRUE(closed_.empty()) << "paused again by the second line";
  channel_->resume();
  ASSERT_TRUE(until_closed());
  EXPECT_EQ(lines_, (Lines{"one", "two"}));
  channel_->pause();
  channel_->resume();
  test::run_ready(loop_);
  EXPECT_EQ(closed_.size(), 1U) << "the end is told once";
}

TEST_F(LineChannelTest, PauseInTheLastLineHoldsTheEndBack) {
  open();
  say("one\n");
  ASSERT_TRUE(until_lines(1));
  peer_.reset();
  channel_->pause();
  test::run_ready(loop_);
  EXPECT_TRUE(closed_.empty());
  channel_->resume();
  EXPECT_TRUE(until_closed());
}

TEST_F(LineChannelTest, MayBeDestroyedInEveryCallback) {
  const auto destroy = [this] { channel_.reset(); };
  open(10);
  in_line_ = destroy;
  say("one\ntwo\n");
  ASSERT_TRUE(until_lines(1));
  test::run_ready(loop_);
  EXPECT_EQ(lines_, Lines{"one"});

  open(10);
  in_overlong_ = destroy;
  say("01234567890\ntwo\n");
  ASSERT_TRUE(test::run_until(loop_, [&] { return !overlong_.empty(); }));
  test::run_ready(loop_);
  EXPECT_EQ(lines_, Lines{"one"});

  open();
  in_closed_ = destroy;
  peer_.reset();
  ASSERT_TRUE(until_closed());
  EXPECT_EQ(last_error_, "the peer closed the connection") << "the reason must outlive the channel";

  open();
  in_drained_ = destroy;
  const std::string line(4 << 20, 'x');
  ASSERT_TRUE(channel_->write_line(line));
  ASSERT_EQ(hear(line.size() + 1).size(), line.size() + 1);
  ASSERT_TRUE(test::run_until(loop_, [&] { return channel_ == nullptr; }));
}

TEST_F(LineChannelTest, ALineStaysReadableAfterTheChannelIsDestroyedInside) {
  auto pair = socket_pair(SOCK_STREAM);
  ASSERT_TRUE(pair);
  peer_ = std::move(pair->theirs);
  std::string seen;
  channel_ = std::make_unique<LineChannel>(loop_, std::move(pair->ours), "test",
                                           LineChannel::Callbacks{.on_line =
                                                                      [this, &seen](std::string_view line) {
                                                                        channel_.reset();
                                                                        seen = line;
                                                                      },
                                                                  .on_overlong = {},
                                                                  .on_closed = {},
                                                                  .on_drained = {}});
  const std::string line(40'000, 'y');
  say(line + "\n");
  ASSERT_TRUE(test::run_until(loop_, [&] { return !seen.empty(); }));
  EXPECT_TRUE(seen == line);
}

TEST_F(LineChannelTest, AnswersFromInsideALine) {
  open();
  in_line_ = [this] { ASSERT_TRUE(channel_->write_line({"re: ", lines_.back()})); };
  say("one\ntwo\n");
  EXPECT_EQ(hear(16), "re: one\nre: two\n");
}

TEST_F(LineChannelTest, ReadsWhatAPeerSaidThatNoLongerListens) {
  open();
  ASSERT_EQ(::shutdown(peer_.get(), SHUT_RD), 0);
  const auto refused = channel_->write_line("hello");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::disconnected);
  say("still here\n");
  ASSERT_TRUE(until_lines(1));
  EXPECT_TRUE(closed_.empty());
  peer_.reset();
  EXPECT_TRUE(until_closed());
}

TEST_F(LineChannelTest, FinishWritingEndsTheStreamAfterTheQueue) {
  open();
  const std::string line(4 << 20, 'x');
  ASSERT_TRUE(channel_->write_line(line));
  channel_->finish_writing();
  channel_->finish_writing();
  EXPECT_EQ(channel_->write_line("late").error().code, Errc::disconnected);
  EXPECT_EQ(hear(line.size() + 1).size(), line.size() + 1);
  char c = 0;
  ASSERT_TRUE(test::run_until(loop_, [&] { return ::read(peer_.get(), &c, 1) == 0; }));
  say("answer\n");
  ASSERT_TRUE(until_lines(1)) << "reading goes on";
}

TEST_F(LineChannelTest, WorksOverAPairOfPipes) {
  open_pipes();
  say("one\n");
  ASSERT_TRUE(until_lines(1));
  const std::string line(1 << 20, 'x');
  ASSERT_EQ(::fcntl(peer_.get(), F_SETFL, O_NONBLOCK), 0);
  ASSERT_TRUE(channel_->write_line(line));
  channel_->finish_writing();
  EXPECT_EQ(hear(line.size() + 1).size(), line.size() + 1);
  char c = 0;
  ASSERT_TRUE(test::run_until(loop_, [&] { return ::read(peer_.get(), &c, 1) == 0; }));
  say("two\n");
  ASSERT_TRUE(until_lines(2));
  peer_out_.reset();
  ASSERT_TRUE(until_closed());
}

TEST_F(LineChannelTest, TheEndOfAPipeReaderIsNoticed) {
  open_pipes();
  ASSERT_TRUE(channel_->write_line(std::string(1 << 20, 'x')));
  peer_.reset();
  ASSERT_TRUE(test::run_until(loop_, [&] { return drained_ == 1; })) << "a producer that waits must be told";
  EXPECT_EQ(channel_->queued_bytes(), 0U);
  EXPECT_EQ(channel_->write_line("more").error().code, Errc::disconnected);
  EXPECT_TRUE(channel_->open());
}

TEST_F(LineChannelTest, LeaksNoDescriptor) {
  const auto before = test::open_fds();
  open();
  channel_.reset();
  peer_.reset();
  open_pipes();
  channel_->finish_writing();
  channel_.reset();
  peer_.reset();
  peer_out_.reset();
  EXPECT_EQ(test::open_fds(), before);
}

}  // namespace
}  // namespace hal::io
