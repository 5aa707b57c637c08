#include "io/listener.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::io {
namespace {

/** Takes all descriptors but `spare` until it is destroyed. */
class FewDescriptors {
 public:
  explicit FewDescriptors(std::size_t spare) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit few = before_;
    few.rlim_cur = 256;
    ::setrlimit(RLIMIT_NOFILE, &few);
    for (UniqueFd fd; (fd = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)));) {
      taken_.push_back(std::move(fd));
    }
    taken_.resize(taken_.size() - spare);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
  std::vector<UniqueFd> taken_;
};

TEST(ListenUnix, MakesASocketWithTheModeAndReplacesAStaleOne) {
  const test::TempDir dir;
  const auto path = dir / "a.sock";
  {
    const auto first = listen_unix(path, SOCK_STREAM, 0600);
    ASSERT_TRUE(first) << first.error().message;
  }
  EXPECT_EQ(connect_unix(path, SOCK_STREAM).error().code, Errc::unavailable) << "a stale socket refuses";
  const auto second = listen_unix(path, SOCK_STREAM, 0660);
  ASSERT_TRUE(second) << second.error().message;
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660U);
  EXPECT_NE(::fcntl(second->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_TRUE(connect_unix(path, SOCK_STREAM));
}

TEST(ListenUnix, RefusesBadPathsAndLeavesOtherFilesAlone) {
  const test::TempDir dir;
  EXPECT_EQ(listen_unix("", SOCK_STREAM, 0600).error().code, Errc::invalid_argument);
  EXPECT_EQ(listen_unix(dir / std::string(108, 'x'), SOCK_STREAM, 0600).error().code, Errc::invalid_argument);
  EXPECT_EQ(listen_unix(dir / "none/a.sock", SOCK_STREAM, 0600).error().code, Errc::not_found);
  const auto file = dir.write("data", "precious");
  EXPECT_EQ(listen_unix(file, SOCK_STREAM, 0600).error().code, Errc::already_exists);
  EXPECT_EQ(test::read_file(file), "precious");
}

TEST(ConnectUnix, TellsWhatIsWrong) {
  const test::TempDir dir;
  EXPECT_EQ(connect_unix(dir / "none", SOCK_STREAM).error().code, Errc::not_found);
  const auto listener = listen_unix(dir / "a.sock", SOCK_STREAM, 0600, 0);
  ASSERT_TRUE(listener);
  std::vector<UniqueFd> waiting;
  Result<UniqueFd> next = connect_unix(dir / "a.sock", SOCK_STREAM);
  while (next) {
    waiting.push_back(*std::move(next));
    ASSERT_LT(waiting.size(), 10U);
    next = connect_unix(dir / "a.sock", SOCK_STREAM);
  }
  EXPECT_EQ(next.error().code, Errc::busy) << "a full backlog must not block";
}

TEST(PeerCredentials, AreThoseOfTheOtherEnd) {
  const auto pair = socket_pair(SOCK_STREAM);
  ASSERT_TRUE(pair);
  const auto peer = peer_credentials(pair->ours.get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->pid, ::getpid());
  EXPECT_EQ(peer->uid, ::getuid());
  EXPECT_EQ(peer->gid, ::getgid());
  const auto pipe = test::make_pipe();
  EXPECT_FALSE(peer_credentials(pipe.read.get()));
}

TEST(PeerCredentials, UnknownOnesAreNobodys) {
  const PeerCredentials unknown;
  EXPECT_NE(unknown.uid, 0U);
  EXPECT_NE(unknown.gid, 0U);
}

class ListenerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto socket = listen_unix(dir_ / "l.sock", SOCK_STREAM, 0600);
    ASSERT_TRUE(socket);
    listener_ =
        std::make_unique<Listener>(loop_, *std::move(socket), "test", [this](UniqueFd fd, PeerCredentials peer) {
          if (destroy_inside_) {
            listener_.reset();
          }
          accepted_.push_back(std::move(fd));
          peers_.push_back(peer);
        });
  }

  UniqueFd connect() { return *connect_unix(dir_ / "l.sock", SOCK_STREAM); }
  bool until_accepted(std::size_t count) {
    return test::run_until(loop_, [&] { return accepted_.size() >= count; });
  }

  test::TempDir dir_;
  event::Loop loop_;
  std::vector<UniqueFd> accepted_;
  std::vector<PeerCredentials> peers_;
  bool destroy_inside_ = false;
  std::unique_ptr<Listener> listener_;
};

TEST_F(ListenerTest, HandsOverConnectionsWithTheirPeers) {
  const auto one = connect();
  const auto two = connect();
  ASSERT_TRUE(until_accepted(2));
  EXPECT_EQ(peers_[0].pid, ::getpid());
  EXPECT_NE(::fcntl(accepted_[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(accepted_[0].get(), F_GETFL) & O_NONBLOCK, 0);
  ASSERT_EQ(::write(one.get(), "x", 1), 1);
  EXPECT_EQ(test::read_line(accepted_[0].get(), test::scaled(std::chrono::milliseconds(100))), "x");
}

TEST_F(ListenerTest, MayBeDestroyedInItsCallback) {
  destroy_inside_ = true;
  const auto one = connect();
  const auto two = connect();
  ASSERT_TRUE(until_accepted(1));
  test::run_ready(loop_);
  EXPECT_EQ(accepted_.size(), 1U);
}

TEST_F(ListenerTest, WaitsInsteadOfSpinningWhenOutOfDescriptors) {
  auto few = std::make_unique<FewDescriptors>(1);
  const auto one = connect();  // takes the last one
  int turns = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(250);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_TRUE(loop_.run_once(std::chrono::milliseconds(50)));
    ++turns;
  }
  EXPECT_TRUE(accepted_.empty());
  EXPECT_LT(turns, 30) << "the loop spins";
  few.reset();
  ASSERT_TRUE(until_accepted(1)) << "the waiting connection is taken when there is room again";
  const auto two = connect();
  ASSERT_TRUE(until_accepted(2));
}

TEST_F(ListenerTest, AConnectionThatIsGoneAlreadyDoesNoHarm) {
  connect().reset();
  const auto two = connect();
  ASSERT_TRUE(until_accepted(2));
  EXPECT_EQ(test::read_all(accepted_[0].get()), "");
}

}  // namespace
}  // namespace hal::io
