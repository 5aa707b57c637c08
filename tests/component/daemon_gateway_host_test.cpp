#include "daemon/gateway_host.hpp"
#include "io/listener.hpp"
#include "support/component.hpp"

#include <sys/socket.h>

#include <chrono>
#include <vector>

#include <gtest/gtest.h>

namespace hal::daemon {
namespace {

using namespace std::chrono_literals;

/** A gateway of another version, say: it takes each connection and ends it at once. */
TEST(GatewayHost, AUnitThatEndsEachConnectionIsAskedLessAndLess) {
  const test::TempDir dir;
  event::Loop loop;
  auto listening = io::listen_unix(dir / "gateway.sock", SOCK_SEQPACKET, 0600);
  ASSERT_TRUE(listening);
  const io::Listener unit(loop, *std::move(listening), "unit", [](const UniqueFd&, io::PeerCredentials) {});
  std::vector<std::chrono::steady_clock::time_point> connected;
  GatewayHost* self = nullptr;
  GatewayHost host(loop, {.unit_socket = dir / "gateway.sock", .program = "", .user = ""}, [&](const UniqueFd&) {
    connected.push_back(std::chrono::steady_clock::now());
    self->reconnect();
  });
  self = &host;
  host.start();
  ASSERT_TRUE(test::run_until(loop, [&] { return connected.size() == 5; }));
  EXPECT_GE(connected[4] - connected[3], 400ms) << "50 ms, doubled with each";
}

TEST(GatewayHost, AUnitThatIsNotThereYetIsFound) {
  const test::TempDir dir;
  event::Loop loop;
  bool connected = false;
  GatewayHost host(loop, {.unit_socket = dir / "gateway.sock", .program = "", .user = ""},
                   [&](const UniqueFd&) { connected = true; });
  host.start();
  test::run_ready(loop);
  EXPECT_FALSE(connected);
  auto listening = io::listen_unix(dir / "gateway.sock", SOCK_SEQPACKET, 0600);
  ASSERT_TRUE(listening);
  EXPECT_TRUE(test::run_until(loop, [&] { return connected; }));
}

}  // namespace
}  // namespace hal::daemon
