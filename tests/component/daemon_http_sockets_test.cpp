#include "base/log.hpp"
#include "daemon/http_sockets.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace hal::daemon {
namespace {

using hal::test::run_ready;
using hal::test::run_until;

using Texts = std::vector<std::string>;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/** Namespaces and the gateway are played by the test: process 123 is in network "n1", as all that begin with a 1. */
class HttpSocketsTest : public testing::Test {
 protected:
  HttpSocketsTest() { log::set_max_level(log::Level::critical); }

  HttpSockets::Parts parts() {
    return {loop,
            [](pid_t pid) -> Result<std::string> {
              return pid < 0 ? Result<std::string>(Error{Errc::unavailable, "gone"}) : network_of(pid);
            },
            [this](pid_t pid, Done<UniqueFd> done) {
              ++opened[network_of(pid)];
              event::post(loop, "open", [this, done = std::move(done)] {
                if (busy > 0) {
                  --busy;
                  return done(Error{Errc::busy, "in use"});
                }
                done(UniqueFd(::eventfd(0, EFD_CLOEXEC)));
              });
            },
            [this](const std::string& network, const WorkerId& owner, UniqueFd fd) {
              EXPECT_TRUE(fd);
              served.push_back(network + owner.value);
            },
            [this](const std::string& network) { closed.push_back(network); }};
  }
  static std::string network_of(pid_t pid) { return "n" + std::to_string(pid).substr(0, 1); }

  event::Loop loop;
  std::map<std::string, int> opened;
  int busy = 0;
  Texts served;
  Texts closed;
  HttpSockets sockets{parts()};
};

TEST_F(HttpSocketsTest, waits_for_both_a_network_and_a_gateway) {
  sockets.on_holder(10);
  run_ready(loop);
  EXPECT_TRUE(opened.empty());
  sockets.on_gateway(Texts{});
  run_ready(loop);
  EXPECT_EQ(served, Texts{"n1"});
}

TEST_F(HttpSocketsTest, a_new_gateway_gets_the_same_sockets_and_no_port_was_ever_free) {
  sockets.on_gateway(Texts{});
  sockets.on_holder(10);
  sockets.on_worker({"w"}, 20, true);
  run_ready(loop);
  sockets.on_gateway(std::nullopt);
  sockets.on_gateway(Texts{});
  run_ready(loop);
  EXPECT_EQ(opened, (std::map<std::string, int>{{"n1", 1}, {"n2", 1}}));
  EXPECT_EQ(served, (Texts{"n1", "n2w", "n1", "n2w"}));
}

TEST_F(HttpSocketsTest, a_gateway_that_outlived_the_daemon_keeps_its_sockets_but_those_of_nobody) {
  sockets.on_gateway(Texts{"n1", "n2", "n3"});
  sockets.on_worker({"w"}, 20, true);
  sockets.on_holder(10);
  run_ready(loop);
  EXPECT_TRUE(closed.empty()) << "not all are known yet";
  sockets.on_workers_known();
  EXPECT_TRUE(opened.empty());
  EXPECT_TRUE(served.empty());
  EXPECT_EQ(closed, Texts{"n3"});
}

TEST_F(HttpSocketsTest, a_replaced_network_is_served_until_the_last_worker_has_left_it) {
  sockets.on_workers_known();
  sockets.on_gateway(Texts{});
  sockets.on_holder(10);
  sockets.on_worker({"a"}, 11, false);
  sockets.on_worker({"b"}, 12, false);
  run_ready(loop);
  sockets.on_holder(0);
  sockets.on_holder(20);
  run_ready(loop);
  EXPECT_EQ(served, (Texts{"n1", "n2"}));
  sockets.on_worker({"a"}, 0, false);
  sockets.on_worker({"a"}, 21, false);
  EXPECT_TRUE(closed.empty());
  sockets.on_worker({"b"}, 0, false);
  EXPECT_EQ(closed, Texts{"n1"});
  run_ready(loop);
  EXPECT_EQ(served, (Texts{"n1", "n2"}));
}

TEST_F(HttpSocketsTest, a_former_network_is_found_by_the_workers_in_it) {
  sockets.on_worker({"a"}, 11, false);
  sockets.on_holder(20);
  sockets.on_gateway(Texts{});  // both daemons are new
  run_ready(loop);
  EXPECT_EQ(served, (Texts{"n1", "n2"}));
}

TEST_F(HttpSocketsTest, a_network_that_is_left_while_a_socket_is_made_gets_none) {
  sockets.on_gateway(Texts{});
  sockets.on_holder(10);
  sockets.on_holder(20);
  run_ready(loop);
  EXPECT_EQ(served, Texts{"n2"});
}

TEST_F(HttpSocketsTest, a_taken_port_is_tried_again) {
  busy = 1;
  sockets.on_gateway(Texts{});
  sockets.on_holder(10);
  EXPECT_TRUE(run_until(loop, [this] { return served.size() == 1; }));
  EXPECT_EQ(opened["n1"], 2);
}

TEST_F(HttpSocketsTest, a_worker_that_is_prepared_for_waits_until_it_is_served) {
  std::optional<Result<void>> made;
  const auto note = [&made](const Result<void>& result) { made = result; };
  sockets.prepare({"w"}, 20, note);
  run_ready(loop);
  EXPECT_TRUE(made && *made) << "a missing gateway holds up nobody";
  sockets.on_gateway(Texts{});
  made.reset();
  sockets.prepare({"v"}, 30, note);
  EXPECT_FALSE(made);
  run_ready(loop);
  EXPECT_TRUE(made && *made);
  EXPECT_EQ(served, (Texts{"n2w", "n3v"}));
  busy = 1;
  made.reset();
  sockets.prepare({"u"}, 40, note);
  run_ready(loop);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->error().code, Errc::busy);
  made.reset();
  sockets.prepare({"t"}, 50, note);
  sockets.on_worker({"t"}, 0, true);
  run_ready(loop);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->error().code, Errc::cancelled);
}

TEST_F(HttpSocketsTest, nothing_is_held_of_a_worker_that_is_gone) {
  sockets.on_workers_known();
  sockets.on_gateway(Texts{});
  run_ready(loop);
  const auto before = open_descriptors();
  for (int round = 0; round < 10; ++round) {
    sockets.on_worker({"w"}, 20 + round % 2, true);
    run_ready(loop);
    EXPECT_EQ(open_descriptors(), before + 1);
    sockets.on_worker({"w"}, round % 2 == 0 ? 0 : -1, true);  // or its process is gone before that is told
    EXPECT_EQ(open_descriptors(), before);
  }
  EXPECT_EQ(served.size(), 10U);
  EXPECT_EQ(closed.size(), 10U);
}

}  // namespace
}  // namespace hal::daemon
