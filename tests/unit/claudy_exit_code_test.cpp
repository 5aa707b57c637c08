#include "claudy/exit_code.hpp"

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

TEST(ExitCode, has_the_documented_code_for_every_error) {
  const std::pair<Errc, int> table[] = {
      {Errc::invalid_argument, 2},
      {Errc::not_found, 5},
      {Errc::already_exists, 6},
      {Errc::busy, 6},
      {Errc::limit, 6},
      {Errc::denied, 4},
      {Errc::timed_out, 7},
      {Errc::cancelled, 1},
      {Errc::disconnected, 1},
      {Errc::unavailable, 3},
      {Errc::protocol, 1},
      {Errc::internal, 1},
  };
  EXPECT_EQ(std::size(table), std::size(all_errcs));
  for (const auto& [code, exit] : table) {
    EXPECT_EQ(exit_code(code), exit) << name(code);
  }
}

TEST(BusError, maps_names_to_codes) {
  const std::pair<const char*, Errc> table[] = {
      {"org.hal9000.Error.InvalidArgument", Errc::invalid_argument},
      {"org.hal9000.Error.NotFound", Errc::not_found},
      {"org.hal9000.Error.AlreadyExists", Errc::already_exists},
      {"org.hal9000.Error.Busy", Errc::busy},
      {"org.hal9000.Error.LimitExceeded", Errc::limit},
      {"org.hal9000.Error.TimedOut", Errc::timed_out},
      {"org.hal9000.Error.Cancelled", Errc::cancelled},
      {"org.hal9000.Error.Disconnected", Errc::disconnected},
      {"org.hal9000.Error.Unavailable", Errc::unavailable},
      {"org.hal9000.Error.Protocol", Errc::protocol},
      {"org.hal9000.Error.Internal", Errc::internal},
      {"org.hal9000.Error.SomethingNew", Errc::internal},
      {"org.freedesktop.DBus.Error.AccessDenied", Errc::denied},
      {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", Errc::denied},
      {"org.freedesktop.DBus.Error.UnknownObject", Errc::not_found},
      {"org.freedesktop.DBus.Error.UnknownMethod", Errc::protocol},
      {"org.freedesktop.DBus.Error.InvalidArgs", Errc::invalid_argument},
      {"org.freedesktop.DBus.Error.NoReply", Errc::unavailable},
      {"org.freedesktop.DBus.Error.Timeout", Errc::timed_out},
      {"org.freedesktop.DBus.Error.ServiceUnknown", Errc::unavailable},
      {"org.freedesktop.DBus.Error.NameHasNoOwner", Errc::unavailable},
      {"org.freedesktop.DBus.Error.Spawn.ChildExited", Errc::unavailable},
      {"org.freedesktop.DBus.Error.Failed", Errc::internal},
      {"com.example.Error", Errc::internal},
      {"", Errc::internal},
  };
  for (const auto& [bus_name, code] : table) {
    EXPECT_EQ(from_bus_error(bus_name, "text").code, code) << bus_name;
  }
}

TEST(BusError, keeps_the_daemons_sentence) {
  EXPECT_EQ(from_bus_error("org.hal9000.Error.Busy", "worker w1 is stopping").message, "worker w1 is stopping");
}

TEST(BusError, says_what_to_do_where_the_daemon_cannot) {
  EXPECT_NE(from_bus_error("org.freedesktop.DBus.Error.ServiceUnknown", "x").message.find("the daemon is not running"),
            std::string::npos);
  EXPECT_NE(from_bus_error("org.freedesktop.DBus.Error.AccessDenied", "no").message.find("as root"), std::string::npos);
}

TEST(BusError, is_fit_for_a_terminal) {
  EXPECT_EQ(from_bus_error("org.hal9000.Error.NotFound", "no \x1b[2J here").message, "no \\x1b[2J here");
}

}  // namespace
}  // namespace hal::claudy
