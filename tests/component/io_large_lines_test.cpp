#include "io/line_channel.hpp"
#include "io/listener.hpp"
#include "support/component.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace hal::io {
namespace {

using namespace std::chrono_literals;

/** Far more than a socket takes at once. */
constexpr std::size_t large = std::size_t{3} << 20;

/** A channel whose lines are handed on, and the channels they are handed on to, with the raw ends of all peers. */
class LargeLinesTest : public ::testing::Test {
 protected:
  void open(std::size_t receivers) {
    auto source = socket_pair(SOCK_STREAM);
    source_peer_ = std::move(source->theirs);
    source_ = std::make_unique<LineChannel>(
        loop_, std::move(source->ours), "source",
        LineChannel::Callbacks{.on_line = [this](std::string_view line) { on_line_(line); },
                               .on_overlong = [this](std::size_t) { ++overlong_; },
                               .on_closed = [](const Error&) {}});
    for (std::size_t i = 0; i < receivers; ++i) {
      auto pair = socket_pair(SOCK_STREAM);
      peers_.push_back(std::move(pair->theirs));
      receivers_.push_back(std::make_unique<LineChannel>(loop_, std::move(pair->ours), "receiver",
                                                         LineChannel::Callbacks{.on_line = [](std::string_view) {},
                                                                                .on_overlong = [](std::size_t) {},
                                                                                .on_closed = [](const Error&) {}}));
    }
  }

  /** The line's head is replaced, as that of a message is by its receiver's id. */
  void pass_on(LineChannel& receiver, std::string_view line) {
    EXPECT_TRUE(receiver.write_line({"to", line.substr(4)}));
    ++passed_;
  }
  void pass_on_to_all(std::string_view line) {
    for (const auto& receiver : receivers_) {
      pass_on(*receiver, line);
    }
  }

  /** Writes while the loop reads. */
  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(source_peer_.get(), bytes.data(), bytes.size());
      if (written > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(written));
      } else {
        ASSERT_EQ(errno, EAGAIN);
        ASSERT_TRUE(loop_.run_once(test::scaled(10s)));
      }
    }
  }
  bool until_passed(int lines) {
    return test::run_until(loop_, [&] { return passed_ >= lines; });
  }
  std::string hear(const UniqueFd& peer, std::size_t size) {
    std::string heard;
    EXPECT_TRUE(test::run_until(loop_, [&] {
      char buffer[4096];
      for (ssize_t bytes = 0; heard.size() < size && (bytes = ::read(peer.get(), buffer, sizeof buffer)) > 0;) {
        heard.append(buffer, static_cast<std::size_t>(bytes));
      }
      return heard.size() >= size;
    }));
    return heard;
  }

  static std::string line(char filling, std::size_t bytes = large) {
    return "from " + std::string(bytes, filling) + " end";
  }
  static std::string passed_line(char filling, std::size_t bytes = large) {
    return "to " + std::string(bytes, filling) + " end\n";
  }

  event::Loop loop_;
  std::unique_ptr<LineChannel> source_;
  UniqueFd source_peer_;
  std::vector<std::unique_ptr<LineChannel>> receivers_;
  std::vector<UniqueFd> peers_;
  std::function<void(std::string_view)> on_line_ = [this](std::string_view line) { pass_on_to_all(line); };
  int passed_ = 0;
  int overlong_ = 0;
};

TEST_F(LargeLinesTest, SeveralReceiversGetItWhole) {
  open(3);
  say(line('x') + "\n");
  ASSERT_TRUE(until_passed(3));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_GT(receivers_[i]->queued_bytes(), large / 2) << "the peer has taken a part";
    EXPECT_LT(receivers_[i]->queued_bytes(), large);
    EXPECT_EQ(hear(peers_[i], passed_line('x').size()), passed_line('x'));
    EXPECT_EQ(receivers_[i]->queued_bytes(), 0U);
  }
}

TEST_F(LargeLinesTest, WhatFollowsItStaysInOrder) {
  open(1);
  say(line('a') + "\nfrom little\n" + line('b') + "\nfrom the last");
  ASSERT_TRUE(until_passed(3));
  EXPECT_TRUE(receivers_[0]->write_line("of our own"));
  say(" one\n");
  ASSERT_TRUE(until_passed(4));
  const auto expected = passed_line('a') + "to little\n" + passed_line('b') + "of our own\nto the last one\n";
  EXPECT_EQ(receivers_[0]->queued_bytes() > large, true);
  EXPECT_EQ(hear(peers_[0], expected.size()), expected);
}

TEST_F(LargeLinesTest, TheViewStaysGoodAfterItWasKept) {
  open(1);
  const auto text = line('x');
  on_line_ = [&](std::string_view line) {
    pass_on(*receivers_[0], line);
    receivers_.clear();  // with all that it keeps
    source_.reset();
    EXPECT_EQ(line, text);
  };
  say(text + "\nfrom more\n");
  ASSERT_TRUE(until_passed(1));
  test::run_ready(loop_);
  EXPECT_EQ(passed_, 1);
}

TEST_F(LargeLinesTest, AReceiverOutlivesTheChannelItCameFrom) {
  open(1);
  on_line_ = [&](std::string_view line) {
    pass_on(*receivers_[0], line);
    source_.reset();
  };
  say(line('x') + "\nfrom more\n");
  ASSERT_TRUE(until_passed(1));
  EXPECT_EQ(hear(peers_[0], passed_line('x').size()), passed_line('x'));
}

TEST_F(LargeLinesTest, APausedChannelKeepsWhatFollows) {
  open(1);
  on_line_ = [&](std::string_view line) {
    source_->pause();
    pass_on(*receivers_[0], line);
  };
  say(line('a') + "\nfrom two\nfrom three");
  ASSERT_TRUE(until_passed(1));
  test::run_ready(loop_);
  EXPECT_EQ(passed_, 1);
  source_->resume();
  ASSERT_TRUE(until_passed(2));
  source_->resume();
  say(" and four\n");
  ASSERT_TRUE(until_passed(3));
  const auto expected = passed_line('a') + "to two\nto three and four\n";
  EXPECT_EQ(hear(peers_[0], expected.size()), expected);
}

TEST_F(LargeLinesTest, PauseAndResumeInItLoseNothing) {
  open(1);
  on_line_ = [&](std::string_view line) {
    source_->pause();
    pass_on(*receivers_[0], line);
    source_->resume();
  };
  say(line('a') + "\nfrom two\n" + line('b') + "\n");
  ASSERT_TRUE(until_passed(3));
  const auto expected = passed_line('a') + "to two\n" + passed_line('b');
  EXPECT_EQ(hear(peers_[0], expected.size()), expected);
}

TEST_F(LargeLinesTest, OneThatIsTooLongIsDroppedBesideOneThatIsKept) {
  open(1);
  say(line('a') + "\n" + std::string(limits::mcp_line_bytes + 1, 'x') + "\n" + line('b') + "\n");
  ASSERT_TRUE(until_passed(2));
  EXPECT_EQ(overlong_, 1);
  const auto expected = passed_line('a') + passed_line('b');
  EXPECT_EQ(hear(peers_[0], expected.size()), expected);
}

TEST_F(LargeLinesTest, TheQueueIsAsBoundedAsThatOfCopies) {
  open(1);
  Result<void> result;
  on_line_ = [&](std::string_view line) {
    while ((result = receivers_[0]->write_line(line))) {
      ++passed_;
      ASSERT_LT(passed_, 40);
    }
  };
  say(line('x') + "\n");
  ASSERT_TRUE(test::run_until(loop_, [&] { return !result; }));
  EXPECT_EQ(result.error().code, Errc::limit);
  EXPECT_LE(receivers_[0]->queued_bytes(), limits::peer_queue_bytes);
  EXPECT_GE(passed_, 25);
  peers_.clear();
  EXPECT_TRUE(test::run_until(loop_, [&] { return receivers_[0]->queued_bytes() == 0; })) << "the peer has gone";
}

}  // namespace
}  // namespace hal::io
