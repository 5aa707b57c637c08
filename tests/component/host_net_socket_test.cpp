#include "host/net_socket.hpp"
#include "support/component.hpp"

#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include <gtest/gtest.h>

namespace hal::host {
namespace {

using namespace test;

constexpr std::uint16_t port = 9000;

/** Connects to the port on the loopback of this process's network: 0 or errno. */
int connect_here() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

class NetSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root";
    }
    const auto ready = make_pipe();
    holder_ = ::fork();
    if (holder_ == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const bool alone = ::unshare(CLONE_NEWNET) == 0 && std::system("ip link set lo up") == 0;
      (void)!::write(ready.write.get(), alone ? "y" : "n", 1);
      for (;;) {
        ::pause();
      }
    }
    char answer = 'n';
    ASSERT_EQ(::read(ready.read.get(), &answer, 1), 1);
    ASSERT_EQ(answer, 'y');
  }
  void TearDown() override {
    if (holder_ > 0) {
      ::kill(holder_, SIGKILL);
      (void)::waitpid(holder_, nullptr, 0);
    }
  }

  Result<UniqueFd> wait(std::optional<Result<UniqueFd>>& result) {
    EXPECT_FALSE(result) << "answered from inside the call";
    EXPECT_TRUE(run_until(loop_, [&] { return result.has_value(); }));
    return result ? std::move(*result) : Error{Errc::internal, "no answer"};
  }
  Result<UniqueFd> listening(pid_t pid) {
    std::optional<Result<UniqueFd>> result;
    sockets_.listening(pid, port, [&](Result<UniqueFd> fd) { result.emplace(std::move(fd)); });
    return wait(result);
  }
  Result<UniqueFd> unconnected(pid_t pid) {
    std::optional<Result<UniqueFd>> result;
    sockets_.unconnected(pid, [&](Result<UniqueFd> fd) { result.emplace(std::move(fd)); });
    return wait(result);
  }

  event::Loop loop_;
  NetSockets sockets_{loop_};
  pid_t holder_ = -1;
};

TEST_F(NetSocketTest, a_listening_socket_is_there_and_not_here) {
  auto listener = listening(holder_);
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_EQ(connect_here(), ECONNREFUSED);
  // A second one there: the first is really bound.
  const auto second = listening(holder_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::busy);
  // From inside it answers, over a socket made the same way but used from here.
  const auto client = unconnected(holder_);
  ASSERT_TRUE(client) << client.error().message;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int connected = ::connect((*client).get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  EXPECT_TRUE(connected == 0 || errno == EINPROGRESS);
  const UniqueFd accepted(::accept((*listener).get(), nullptr, nullptr));
  EXPECT_TRUE(accepted);
}

TEST_F(NetSocketTest, without_a_process_there_is_no_network) {
  for (const pid_t pid : {0, 0x3fffffff}) {
    const auto result = unconnected(pid);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::unavailable) << result.error().message;
  }
}

TEST_F(NetSocketTest, networks_are_told_apart) {
  EXPECT_EQ(same_network(::getpid(), ::getppid()), std::optional(true));
  EXPECT_EQ(same_network(::getpid(), holder_), std::optional(false));
  EXPECT_EQ(same_network(::getpid(), 0), std::nullopt) << "where no process is, nothing is known";
}

}  // namespace
}  // namespace hal::host
