#include "base/log.hpp"
#include "daemon/http_socket.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace hal::daemon {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

/** Namespaces and the gateway are played by the test: process 10 is in network "n10". */
class HttpSocketTest : public testing::Test {
 protected:
  HttpSocketTest() { log::set_max_level(log::Level::critical); }

  HttpSocket::Parts parts() {
    return {loop, [](pid_t pid) -> Result<std::string> { return "n" + std::to_string(pid); },
            [this](pid_t pid, Done<UniqueFd> done) {
              ++opened[pid];
              event::post(loop, "open", [this, done = std::move(done)] {
                if (busy > 0) {
                  --busy;
                  return done(Error{Errc::busy, "in use"});
                }
                done(UniqueFd(::eventfd(0, EFD_CLOEXEC)));
              });
            },
            [this](const std::string& network, UniqueFd fd) {
              EXPECT_TRUE(fd);
              served.push_back(network);
            }};
  }

  event::Loop loop;
  std::map<pid_t, int> opened;
  int busy = 0;
  std::vector<std::string> served;
  HttpSocket socket{parts()};
};

TEST_F(HttpSocketTest, waits_for_both_a_network_and_a_gateway) {
  socket.on_namespace(10);
  run_ready(loop);
  EXPECT_TRUE(opened.empty());
  socket.on_gateway("");
  run_ready(loop);
  EXPECT_EQ(served, std::vector<std::string>{"n10"});
}

TEST_F(HttpSocketTest, a_new_gateway_gets_the_same_socket_and_the_port_was_never_free) {
  socket.on_gateway("");
  socket.on_namespace(10);
  run_ready(loop);
  socket.on_gateway(std::nullopt);
  socket.on_gateway("");
  run_ready(loop);
  EXPECT_EQ(opened[10], 1);
  EXPECT_EQ(served, (std::vector<std::string>{"n10", "n10"}));
}

TEST_F(HttpSocketTest, a_gateway_that_outlived_the_daemon_keeps_its_socket) {
  socket.on_gateway("n10");
  socket.on_namespace(10);
  run_ready(loop);
  EXPECT_TRUE(opened.empty());
  EXPECT_TRUE(served.empty());
}

TEST_F(HttpSocketTest, a_replaced_namespace_gets_a_socket_of_its_own) {
  socket.on_gateway("");
  socket.on_namespace(10);
  run_ready(loop);
  socket.on_namespace(0);
  socket.on_namespace(11);
  run_ready(loop);
  EXPECT_EQ(served, (std::vector<std::string>{"n10", "n11"}));
}

TEST_F(HttpSocketTest, a_namespace_that_is_replaced_while_a_socket_is_made_gets_its_own_too) {
  socket.on_gateway("");
  socket.on_namespace(10);
  socket.on_namespace(11);
  run_ready(loop);
  EXPECT_EQ(served, std::vector<std::string>{"n11"});
}

TEST_F(HttpSocketTest, a_taken_port_is_tried_again) {
  busy = 1;
  socket.on_gateway("");
  socket.on_namespace(10);
  EXPECT_TRUE(run_until(loop, [this] { return served.size() == 1; }));
  EXPECT_EQ(opened[10], 2);
}

}  // namespace
}  // namespace hal::daemon
