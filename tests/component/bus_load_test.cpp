#include "bus_support.hpp"

#include <regex>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

class BusLoad : public ::testing::Test, public BusTest {
 protected:
  Client root{loop, daemon.address(), 0};
  static constexpr const char* path = "/org/hal9000";
};

TEST_F(BusLoad, answers_ten_thousand_calls) {
  const auto before = open_fds();
  const auto worker = path_of("0a");
  std::vector<Client::Pending> pending;
  std::size_t good = 0;
  for (int batch = 0; batch < 100; ++batch) {
    pending.clear();
    for (int i = 0; i < 100; ++i) {
      pending.push_back(i % 2 == 0 ? root.start(worker, worker1, "Pause", "")
                                   : root.start(path, manager, "GetWorker", "s", "0a"));
    }
    for (const auto& answer : pending) {
      good += root.wait(answer).ok() ? 1U : 0U;
    }
  }
  EXPECT_EQ(good, 10'000U);
  EXPECT_EQ(registry.calls.size(), 5'000U);
  EXPECT_EQ(open_fds(), before);
}

TEST_F(BusLoad, serves_others_beside_a_client_that_never_reads) {
  Client deaf(loop, daemon.address(), 0);
  ASSERT_GE(sd_bus_detach_event(deaf.bus()), 0);
  for (int i = 0; i < 5'000; ++i) {
    auto* message = deaf.make_call(path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects");
    ASSERT_GE(sd_bus_send(deaf.bus(), message, nullptr), 0);
    sd_bus_message_unref(message);
  }
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(root.call(path, manager, "GetWorker", "s", "0a").ok());
  }
}

TEST_F(BusLoad, refuses_wrong_signatures_and_unknown_members) {
  EXPECT_EQ(root.call(path, manager, "Spawn", "s", "/srv").error(), "org.freedesktop.DBus.Error.InvalidArgs");
  EXPECT_EQ(root.call(path, manager, "Spawn", "ss", "/srv", "").error(), "org.freedesktop.DBus.Error.InvalidArgs");
  EXPECT_EQ(root.call(path, manager, "SpawnAt", "sa{sv}", "/srv", 0).error(), "org.freedesktop.DBus.Error.InvalidArgs");
  EXPECT_EQ(root.call(path, manager, "Nothing").error(), "org.freedesktop.DBus.Error.UnknownMethod");
  EXPECT_EQ(root.call(path, worker1, "Pause").error(), "org.freedesktop.DBus.Error.UnknownMethod");
  EXPECT_EQ(root.call(path_of("ff"), worker1, "Pause").error(), "org.freedesktop.DBus.Error.UnknownObject");
  EXPECT_EQ(root.call(path, properties, "Get", "ss", manager, "Nothing").error(),
            "org.freedesktop.DBus.Error.UnknownProperty");
  EXPECT_TRUE(registry.calls.empty());
}

TEST_F(BusLoad, leaks_no_descriptor_of_a_refused_call) {
  const auto null = make_pipe();
  ASSERT_TRUE(root.call(path, manager, "ListWorkers").ok());
  const auto before = open_fds();
  for (int i = 0; i < 50; ++i) {
    EXPECT_FALSE(root.call(path, manager, "SpawnAt", "ha{sv}", null.read.get(), 1, "name", "h", null.write.get()).ok());
    EXPECT_FALSE(root.call(path, manager, "Spawn", "sa{sv}", "/", 1, "x", "h", null.write.get()).ok());
  }
  ASSERT_TRUE(root.call(path, manager, "ListWorkers").ok());  // the last message is kept until the next
  EXPECT_EQ(open_fds(), before);
}

TEST_F(BusLoad, tells_once_that_the_bus_is_gone) {
  daemon.stop();
  ASSERT_TRUE(run_until(loop, [&] { return !lost.empty(); }));
  lost.clear();
  registry.change(WorkerId{"0a"}, [](worker::Worker& worker) { worker.pid = 9; });
  registry.erase(WorkerId{"0a"});
  run_ready(loop);
  EXPECT_EQ(lost, "");
}

// ---- introspection ------------------------------------------------------------------------------------------------

using Members = std::map<std::string, std::string>;

/** "Interface.Member" to everything a client sees of it, apart from order of attributes, comments and blanks. */
Members members_of(const std::string& xml) {
  Members members;
  std::string interface;
  std::string member;
  const std::regex tag(R"re(<!--[\s\S]*?-->|<(/?)(\w+)([^>]*)>)re");
  const std::regex attribute(R"re((\w+)="([^"]*)")re");
  for (auto match = std::sregex_iterator(xml.begin(), xml.end(), tag); match != std::sregex_iterator(); ++match) {
    const std::string element = (*match)[2];
    const std::string rest = (*match)[3];
    std::map<std::string, std::string> attributes;
    for (auto a = std::sregex_iterator(rest.begin(), rest.end(), attribute); a != std::sregex_iterator(); ++a) {
      attributes[(*a)[1]] = (*a)[2];
    }
    if (match->str(1) == "/" || element.empty()) {
      continue;
    }
    if (element == "interface") {
      interface = attributes["name"];
    } else if (element == "method" || element == "signal" || element == "property") {
      member = interface + "." + attributes["name"];
      members[member] = element + " " + attributes["type"] + " " + attributes["access"];
    } else if (element == "arg") {
      members[member] += " " + attributes["direction"] + " " + attributes["type"] + " " + attributes["name"];
    } else if (element == "annotation" && attributes["name"] == "org.freedesktop.DBus.Property.EmitsChangedSignal" &&
               attributes["value"] != "true") {  // which is what its absence means
      members[member] += " emits " + attributes["value"];
    }
  }
  return members;
}

TEST_F(BusLoad, is_introspected_as_its_files_say) {
  ASSERT_TRUE(root.call(path, manager, "StopAll", "u", 0).ok());
  const char* folder = std::getenv("HAL_DBUS_DIR");
  const std::pair<std::string, std::string> objects[] = {
      {path, manager},
      {path_of("0a"), worker1},
      {"/org/hal9000/server/memory_2dbank", server1},
      {"/org/hal9000/parent", parent1},
      {"/org/hal9000/pool", pool1},
      {"/org/hal9000/job/1", job1},
      {"/org/freedesktop/LogControl1", "org.freedesktop.LogControl1"}};
  for (const auto& [object, interface] : objects) {
    auto live = members_of(root.call(object, "org.freedesktop.DBus.Introspectable", "Introspect").text());
    for (auto member = live.begin(); member != live.end();) {
      member = member->first.rfind("org.freedesktop.DBus.", 0) == 0 ? live.erase(member) : std::next(member);
    }
    const auto file = members_of(read_file(std::string(folder) + "/" + interface + ".xml"));
    EXPECT_GE(file.size(), 3U) << interface;
    EXPECT_EQ(live, file) << interface;
  }
}

}  // namespace
}  // namespace hal::test
