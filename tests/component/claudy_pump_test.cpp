#include "claudy/pump.hpp"
#include "claudy/signals.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

using test::make_pipe;
using test::run_until;
using namespace std::chrono_literals;

Endpoint own(UniqueFd fd) {
  return std::move(*Endpoint::own(std::move(fd)));
}

UniqueFd open_file(const std::string& path, int flags) {
  return UniqueFd(::open(path.c_str(), flags | O_CLOEXEC, 0600));
}

std::array<UniqueFd, 2> socket_pair() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

class PumpTest : public testing::Test {
 protected:
  Pump& start(Endpoint source, Endpoint sink, std::function<void(std::string&)> on_chunk = {}) {
    return pump_.emplace(loop_, std::move(source), std::move(sink), "test",
                         Pump::Callbacks{std::move(on_chunk), [this](Pump::End end) { end_ = end; }});
  }

  IgnoredSigpipe no_sigpipe_;
  event::Loop loop_;
  std::optional<Pump> pump_;
  std::optional<Pump::End> end_;
};

TEST_F(PumpTest, moves_files_that_epoll_does_not_take) {
  const test::TempDir folder;
  const std::string content(300'000, 'x');
  const auto in = folder.write("in", content);
  auto source = own(open_file(in, O_RDONLY));
  auto sink = own(open_file(folder / "out", O_WRONLY | O_CREAT));
  EXPECT_FALSE(source.pollable());
  start(std::move(source), std::move(sink));
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  EXPECT_EQ(*end_, Pump::End::source_ended);
  EXPECT_EQ(test::read_file(folder / "out"), content);
}

TEST_F(PumpTest, ends_at_once_on_dev_null) {
  auto out = make_pipe();
  start(own(open_file("/dev/null", O_RDONLY)), own(std::move(out.write)));
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  EXPECT_EQ(*end_, Pump::End::source_ended);
}

TEST_F(PumpTest, reads_no_further_than_its_sink_takes) {
  auto in = make_pipe();
  auto out = make_pipe();
  ASSERT_GE(::fcntl(in.write.get(), F_SETFL, O_NONBLOCK), 0);
  start(own(std::move(in.read)), own(std::move(out.write)));
  std::size_t taken = 0;
  const std::string block(4096, 'x');
  for (int turns = 0; turns < 3; ++turns) {
    while (::write(in.write.get(), block.data(), block.size()) > 0) {
      taken += block.size();
    }
    test::run_ready(loop_);
  }
  EXPECT_LE(taken, 4U * 65536U);  // two pipes, the pump's buffer, and one more for the rounding of pages
  in.write.reset();
  const auto before = taken;
  std::string received;
  ASSERT_GE(::fcntl(out.read.get(), F_SETFL, O_NONBLOCK), 0);
  ASSERT_TRUE(run_until(loop_, [&] {
    std::array<char, 65536> buffer{};
    for (ssize_t bytes = 0; (bytes = ::read(out.read.get(), buffer.data(), buffer.size())) > 0;) {
      received.append(buffer.data(), static_cast<std::size_t>(bytes));
    }
    return end_.has_value();
  }));
  received += test::read_all(out.read.get(), 0ms);
  EXPECT_EQ(received.size(), before);
}

TEST_F(PumpTest, notices_a_reader_that_leaves_while_nothing_is_written) {
  auto in = make_pipe();
  auto out = make_pipe();
  start(own(std::move(in.read)), own(std::move(out.write)));
  test::run_ready(loop_);
  EXPECT_FALSE(end_);
  out.read.reset();
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  EXPECT_EQ(*end_, Pump::End::sink_closed);
}

TEST_F(PumpTest, refuse_makes_the_writer_fail) {
  auto in = make_pipe();
  auto out = make_pipe();
  auto& pump = start(own(std::move(in.read)), own(std::move(out.write)));
  out.read.reset();
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  pump.refuse();
  EXPECT_LT(::write(in.write.get(), "x", 1), 0);
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(PumpTest, drains_what_is_there_though_others_hold_the_source) {
  auto in = make_pipe();
  auto out = make_pipe();
  ASSERT_EQ(::write(in.write.get(), "last words", 10), 10);
  auto& pump = start(own(std::move(in.read)), own(std::move(out.write)));
  pump.drain();
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  EXPECT_EQ(*end_, Pump::End::source_ended);
  pump_.reset();
  EXPECT_EQ(test::read_all(out.read.get()), "last words");
}

TEST_F(PumpTest, finish_writing_ends_a_sockets_other_side) {
  auto in = make_pipe();
  auto sockets = socket_pair();
  auto& pump = start(own(std::move(in.read)), own(std::move(sockets[0])));
  ASSERT_EQ(::write(in.write.get(), "ab", 2), 2);
  in.write.reset();
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  pump.finish_writing();
  EXPECT_EQ(test::read_all(sockets[1].get()), "ab");
}

TEST_F(PumpTest, may_change_what_it_moves) {
  auto in = make_pipe();
  auto out = make_pipe();
  ASSERT_EQ(::write(in.write.get(), "abc", 3), 3);
  in.write.reset();
  start(own(std::move(in.read)), own(std::move(out.write)), [](std::string& chunk) { chunk = "<" + chunk + ">"; });
  ASSERT_TRUE(run_until(loop_, [&] { return end_.has_value(); }));
  pump_.reset();
  EXPECT_EQ(test::read_all(out.read.get()), "<abc>");
}

TEST(Endpoint, leaves_the_shared_blocking_mode_alone) {
  auto pipe = make_pipe();
  auto sockets = socket_pair();
  ASSERT_EQ(::fcntl(sockets[0].get(), F_SETFL, 0), 0);
  for (const int fd : {pipe.read.get(), sockets[0].get()}) {
    const int flags = ::fcntl(fd, F_GETFL);
    {
      const auto endpoint = Endpoint::standard(fd, Endpoint::Direction::read);
      ASSERT_TRUE(endpoint);
      char byte = 0;
      EXPECT_EQ(endpoint->read(&byte, 1), -1);  // does not block
      EXPECT_EQ(errno, EAGAIN);
      EXPECT_EQ(::fcntl(fd, F_GETFL), flags);
    }
    EXPECT_EQ(::fcntl(fd, F_GETFL), flags);
  }
}

TEST(Endpoint, a_closed_descriptor_is_an_error) {
  EXPECT_FALSE(Endpoint::standard(987654, Endpoint::Direction::read));
}

}  // namespace
}  // namespace hal::claudy
