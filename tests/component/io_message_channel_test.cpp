#include "io/listener.hpp"
#include "io/message_channel.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::io {
namespace {

/** Whether both descriptors are of one open file. */
bool same_file(int a, int b) {
  struct stat one {};
  struct stat two {};
  return ::fstat(a, &one) == 0 && ::fstat(b, &two) == 0 && one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

class MessageChannelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto pair = socket_pair(SOCK_SEQPACKET);
    ASSERT_TRUE(pair);
    peer_ = std::move(pair->theirs);
    channel_ = std::make_unique<MessageChannel>(loop_, std::move(pair->ours), "test",
                                                MessageChannel::Callbacks{[this](Message message) {
                                                                            messages_.push_back(std::move(message));
                                                                            if (in_message_) {
                                                                              in_message_();
                                                                            }
                                                                          },
                                                                          [this](const Error& error) {
                                                                            closed_.push_back(error.code);
                                                                            if (in_closed_) {
                                                                              in_closed_();
                                                                            }
                                                                            last_error_ = error.message;
                                                                          }});
  }

  bool until_messages(std::size_t count) {
    return test::run_until(loop_, [&] { return messages_.size() >= count; });
  }
  bool until_closed() {
    return test::run_until(loop_, [&] { return !closed_.empty(); });
  }

  event::Loop loop_;
  UniqueFd peer_;
  std::vector<Message> messages_;
  std::vector<Errc> closed_;
  std::string last_error_;
  std::function<void()> in_message_;
  std::function<void()> in_closed_;
  std::unique_ptr<MessageChannel> channel_;
};

TEST_F(MessageChannelTest, CarriesBytesAndDescriptorsBothWays) {
  const auto pipe = test::make_pipe();
  const int fds[] = {pipe.read.get(), pipe.write.get()};
  ASSERT_TRUE(send_message(peer_.get(), "hello", fds));
  ASSERT_TRUE(send_message(peer_.get(), std::string_view("a\0b", 3)));
  ASSERT_TRUE(until_messages(2));
  EXPECT_EQ(messages_[0].bytes, "hello");
  ASSERT_EQ(messages_[0].fds.size(), 2U);
  EXPECT_TRUE(same_file(messages_[0].fds[0].get(), pipe.read.get()));
  EXPECT_NE(::fcntl(messages_[0].fds[1].get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(messages_[1].bytes, std::string_view("a\0b", 3));
  EXPECT_TRUE(messages_[1].fds.empty());

  std::vector<UniqueFd> given;
  given.push_back(pipe.read.duplicate());
  ASSERT_TRUE(channel_->send("answer", std::move(given)));
  const auto received = receive_message(peer_.get());
  ASSERT_TRUE(received && *received);
  EXPECT_EQ((*received)->bytes, "answer");
  ASSERT_EQ((*received)->fds.size(), 1U);
  EXPECT_TRUE(same_file((*received)->fds[0].get(), pipe.read.get()));
}

TEST_F(MessageChannelTest, CarriesTheLargestMessageWithTheMostDescriptors) {
  const std::string bytes(limits::channel_message_bytes, 'x');
  std::vector<UniqueFd> fds;
  for (std::size_t i = 0; i < limits::channel_message_fds; ++i) {
    fds.push_back(peer_.duplicate());
  }
  ASSERT_TRUE(channel_->send(bytes, std::move(fds)));
  const auto received = receive_message(peer_.get());
  ASSERT_TRUE(received && *received);
  EXPECT_TRUE((*received)->bytes == bytes);
  EXPECT_EQ((*received)->fds.size(), limits::channel_message_fds);
}

TEST_F(MessageChannelTest, RefusesWhatCannotBeSent) {
  EXPECT_EQ(channel_->send("").error().code, Errc::limit);
  EXPECT_EQ(channel_->send(std::string(limits::channel_message_bytes + 1, 'x')).error().code, Errc::limit);
  std::vector<UniqueFd> fds;
  for (std::size_t i = 0; i <= limits::channel_message_fds; ++i) {
    fds.push_back(peer_.duplicate());
  }
  EXPECT_EQ(channel_->send("x", std::move(fds)).error().code, Errc::limit);
  EXPECT_TRUE(channel_->open());
}

TEST_F(MessageChannelTest, QueuesForASlowPeerUpToALimitAndLosesNothing) {
  const std::string padding(32 * 1024, 'x');
  std::size_t accepted = 0;
  Result<void> result;
  while ((result = channel_->send(std::to_string(accepted) + " " + padding))) {
    ++accepted;
    ASSERT_LT(accepted, 2 * limits::channel_queue_messages);
  }
  EXPECT_EQ(result.error().code, Errc::limit);
  EXPECT_EQ(channel_->queued(), limits::channel_queue_messages);
  std::size_t received = 0;
  ASSERT_TRUE(test::run_until(loop_, [&] {
    for (;;) {
      auto message = receive_message(peer_.get());
      if (!message || !*message) {
        break;
      }
      EXPECT_TRUE((*message)->bytes.starts_with(std::to_string(received) + " ")) << "out of order";
      ++received;
    }
    return received == accepted;
  }));
  EXPECT_EQ(channel_->queued(), 0U);
  EXPECT_TRUE(channel_->send("again"));
}

TEST_F(MessageChannelTest, TellsTheEndAfterTheLastMessage) {
  ASSERT_TRUE(send_message(peer_.get(), "last words"));
  peer_.reset();
  ASSERT_TRUE(until_closed());
  ASSERT_EQ(messages_.size(), 1U);
  EXPECT_EQ(closed_, std::vector{Errc::disconnected});
  EXPECT_EQ(channel_->send("late").error().code, Errc::disconnected);
}

TEST_F(MessageChannelTest, DeliversTheLastMessagesThoughSendingFailed) {
  ASSERT_TRUE(channel_->send("never read"));
  ASSERT_TRUE(send_message(peer_.get(), "one"));
  ASSERT_TRUE(send_message(peer_.get(), "two"));
  peer_.reset();  // with an unread message: the kernel reports a reset before the rest
  EXPECT_EQ(channel_->send("too late").error().code, Errc::disconnected);
  EXPECT_TRUE(closed_.empty()) << "never from inside the call";
  ASSERT_TRUE(until_closed());
  ASSERT_EQ(messages_.size(), 2U);
  EXPECT_EQ(messages_[1].bytes, "two");
  EXPECT_EQ(closed_, std::vector{Errc::disconnected});
}

TEST_F(MessageChannelTest, ClosesOnAMessageThatIsTooLarge) {
  const std::string bytes(limits::channel_message_bytes + 1, 'x');
  ASSERT_EQ(::send(peer_.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  ASSERT_TRUE(until_closed());
  EXPECT_EQ(closed_, std::vector{Errc::protocol});
  EXPECT_TRUE(messages_.empty());
}

TEST_F(MessageChannelTest, ClosesOnTooManyDescriptorsAndKeepsNone) {
  constexpr std::size_t count = limits::channel_message_fds + 1;
  alignas(cmsghdr) char buffer[CMSG_SPACE(count * sizeof(int))] = {};
  char byte = 'x';
  iovec vector{&byte, 1};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = buffer;
  header.msg_controllen = sizeof buffer;
  cmsghdr* control = CMSG_FIRSTHDR(&header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(count * sizeof(int));
  for (std::size_t i = 0; i < count; ++i) {
    reinterpret_cast<int*>(CMSG_DATA(control))[i] = peer_.get();
  }
  const auto before = test::open_fds();
  ASSERT_EQ(::sendmsg(peer_.get(), &header, 0), 1);
  ASSERT_TRUE(until_closed());
  EXPECT_EQ(closed_, std::vector{Errc::protocol});
  EXPECT_EQ(test::open_fds(), before);
}

TEST_F(MessageChannelTest, MayBeDestroyedInItsCallbacks) {
  in_message_ = [this] { channel_.reset(); };
  ASSERT_TRUE(send_message(peer_.get(), "one"));
  ASSERT_TRUE(send_message(peer_.get(), "two"));
  ASSERT_TRUE(until_messages(1));
  test::run_ready(loop_);
  EXPECT_EQ(messages_.size(), 1U);

  SetUp();
  in_closed_ = [this] { channel_.reset(); };
  peer_.reset();
  ASSERT_TRUE(until_closed());
  EXPECT_EQ(last_error_, "the peer closed the channel") << "the reason must outlive the channel";
}

TEST_F(MessageChannelTest, ReplyingFromInsideAMessageWorks) {
  in_message_ = [this] { ASSERT_TRUE(channel_->send("re: " + messages_.back().bytes)); };
  ASSERT_TRUE(send_message(peer_.get(), "ping"));
  ASSERT_TRUE(until_messages(1));
  const auto received = receive_message(peer_.get());
  ASSERT_TRUE(received && *received);
  EXPECT_EQ((*received)->bytes, "re: ping");
}

TEST_F(MessageChannelTest, ABusyPeerDoesNotStarveOthers) {
  auto other = socket_pair(SOCK_SEQPACKET);
  ASSERT_TRUE(other);
  std::size_t seen_at = 0;
  MessageChannel second(loop_, std::move(other->ours), "second",
                        {[&](Message) { seen_at = messages_.size(); }, [](const Error&) {}});
  std::size_t sent = 0;
  while (send_message(peer_.get(), "x")) {
    ++sent;
  }
  ASSERT_GT(sent, 60U);
  ASSERT_TRUE(send_message(other->theirs.get(), "y"));
  ASSERT_TRUE(until_messages(sent));
  EXPECT_LT(seen_at, sent / 2);
}

TEST_F(MessageChannelTest, DescriptorsOfUnsentMessagesAreClosed) {
  const auto before = test::open_fds();
  const std::string padding(64 * 1024, 'x');
  for (int i = 0; i < 20; ++i) {
    std::vector<UniqueFd> fds;
    fds.push_back(peer_.duplicate());
    ASSERT_TRUE(channel_->send(padding, std::move(fds)));
  }
  EXPECT_GT(channel_->queued(), 0U);
  channel_.reset();
  EXPECT_EQ(test::open_fds(), before - 1);
}

}  // namespace
}  // namespace hal::io
