#include "bus_support.hpp"

#include <gtest/gtest.h>

namespace hal::test {
namespace {

class BusPool : public ::testing::Test, public BusTest {
 protected:
  Client root{loop, daemon.address(), 0};
  static constexpr const char* path = "/org/hal9000/pool";
};

TEST_F(BusPool, shows_the_pool) {
  pool.status_now.hits = 7;
  pool.status_now.reason = "1 is being made";
  for (const auto& [name, value] :
       {std::pair("Min", "2"), std::pair("Max", "5"), std::pair("IdleTimeoutUSec", "300000000"),
        std::pair("Target", "2"), std::pair("Warm", "0"), std::pair("Hits", "7"), std::pair("Pressure", "none"),
        std::pair("Reason", "1 is being made")}) {
    EXPECT_EQ(root.property(path, pool1, name), value) << name;
  }
}

TEST_F(BusPool, tells_what_has_changed) {
  root.record();
  pool.status_now.warm = 2;
  pool.status_now.hits = 1;  // a counter is read when asked for
  service->on_pool_changed();
  ASSERT_TRUE(root.wait_signal(path, "PropertiesChanged"));
  EXPECT_EQ(root.signals.back().words, (std::set<std::string>{"Warm"}));
}

TEST_F(BusPool, a_claim_is_a_spawn_that_requires_a_warm_worker) {
  const auto answer = root.call(path, pool1, "Claim", "sa{sv}", "/srv/p", 2, "name", "s", "w-1", "read_only", "b", 1);
  EXPECT_EQ(answer.text(), "/org/hal9000/worker/000000000001");
  ASSERT_TRUE(registry.last_spawn.has_value());
  EXPECT_EQ(registry.last_spawn->claim, worker::Claim::require);
  EXPECT_EQ(registry.last_spawn->workspace, "/srv/p");
  EXPECT_EQ(registry.last_spawn->name, "w-1");
  EXPECT_TRUE(registry.last_spawn->read_only);
  registry.next_error = Error{Errc::unavailable, "no worker is warm"};
  const auto none = root.call(path, pool1, "Claim", "sa{sv}", "/srv/p", 0);
  EXPECT_EQ(none.error(), "org.hal9000.Error.Unavailable");
  EXPECT_EQ(none.error_message(), "no worker is warm");
}

TEST_F(BusPool, bad_claims_are_refused_by_name) {
  EXPECT_EQ(root.call(path, pool1, "Claim", "sa{sv}", "relative", 0).error(), "org.hal9000.Error.InvalidArgument");
  for (const char* value : {"require", "never"}) {
    const auto answer = root.call(path, pool1, "Claim", "sa{sv}", "/srv", 1, "claim", "s", value);
    EXPECT_EQ(answer.error(), "org.hal9000.Error.InvalidArgument");
    EXPECT_NE(answer.error_message().find("claim"), std::string::npos);
  }
  EXPECT_FALSE(registry.last_spawn.has_value());
}

/** Claims and spawns of one user are counted together. */
TEST_F(BusPool, one_user_can_have_only_so_many_under_way) {
  registry.hold = true;
  std::vector<Client::Pending> pending;
  for (int i = 0; i < 16; ++i) {
    pending.push_back(i % 2 == 0 ? root.start(path, pool1, "Claim", "sa{sv}", "/srv", 0)
                                 : root.start("/org/hal9000", manager, "Spawn", "sa{sv}", "/srv", 0));
  }
  EXPECT_EQ(root.call(path, pool1, "Claim", "sa{sv}", "/srv", 0).error(), "org.hal9000.Error.LimitExceeded");
  registry.release();
  for (const auto& one : pending) {
    EXPECT_TRUE(root.wait(one).ok());
  }
  EXPECT_TRUE(root.call(path, pool1, "Claim", "sa{sv}", "/srv", 0).ok());
}

TEST_F(BusPool, settings_are_passed_on_and_errors_come_back) {
  EXPECT_TRUE(root.call(path, pool1, "Scale", "uu", 1U, 4U).ok());
  EXPECT_EQ(pool.changes.back().min, 1U);
  EXPECT_EQ(pool.changes.back().max, 4U);
  EXPECT_FALSE(pool.changes.back().idle_timeout);
  EXPECT_TRUE(root.call(path, pool1, "Configure", "a{sv}", 1, "idle_timeout_usec", "t", std::uint64_t{5}).ok());
  EXPECT_EQ(pool.changes.back().idle_timeout, 5us);
  EXPECT_FALSE(pool.changes.back().min);
  pool.next_error = Error{Errc::invalid_argument, "min 9 must not be more than max 5"};
  EXPECT_EQ(root.call(path, pool1, "Scale", "uu", 9U, 5U).error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(root.call(path, pool1, "Configure", "a{sv}", 1, "min", "s", "2").error(),
            "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(root.call(path, pool1, "Configure", "a{sv}", 1, "colour", "u", 2U).error(),
            "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(root.call(path, pool1, "Configure", "a{sv}", 0).error(), "org.hal9000.Error.InvalidArgument");
  const auto too_long = std::uint64_t{1} << 63;
  EXPECT_EQ(root.call(path, pool1, "Configure", "a{sv}", 1, "idle_timeout_usec", "t", too_long).error(),
            "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(root.call(path, pool1, "Cleanup").ok(), true);
}

TEST_F(BusPool, warm_and_drain_are_jobs) {
  root.record();
  const auto job = root.call(path, pool1, "Warm", "u", 3U).text();
  EXPECT_EQ(pool.job, "warm 3");
  EXPECT_EQ(root.property(job, job1, "Kind"), "pool-warm");
  pool.progress(0.5, "2 warm");
  EXPECT_EQ(root.property(job, job1, "Message"), "2 warm");
  pool.done({});
  ASSERT_TRUE(root.wait_signal("/org/hal9000", "JobRemoved"));
  EXPECT_EQ(root.property(job, job1, "Result"), "done");

  const auto drain = root.call(path, pool1, "Drain").text();
  EXPECT_EQ(pool.job, "drain");
  EXPECT_TRUE(root.call(drain, job1, "Cancel").ok());
  EXPECT_TRUE(pool.cancelled);
}

}  // namespace
}  // namespace hal::test
