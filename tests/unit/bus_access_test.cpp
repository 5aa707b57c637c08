#include "base/error.hpp"
#include "base/text.hpp"
#include "bus/access.hpp"
#include "bus/errors.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

namespace hal::bus {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::filesystem::path dbus_folder() {
  const char* folder = std::getenv("HAL_DBUS_DIR");
  return folder != nullptr ? folder : "";
}

/** "interface.member" of everything a caller can do: methods, and properties that can be set. */
std::set<std::string> in_the_xml() {
  std::set<std::string> members;
  const std::regex tag(R"re(<(interface|method|property) name="([^"]+)"[^>]*>)re");
  for (const auto& entry : std::filesystem::directory_iterator(dbus_folder())) {
    if (entry.path().extension() != ".xml") {
      continue;
    }
    const auto text = read(entry.path());
    std::string interface;
    for (auto match = std::sregex_iterator(text.begin(), text.end(), tag); match != std::sregex_iterator(); ++match) {
      if ((*match)[1] == "interface") {
        interface = (*match)[2];
      } else if ((*match)[1] == "method" || match->str().find("write") != std::string::npos) {
        members.insert(interface + "." + (*match)[2].str());
      }
    }
  }
  return members;
}

TEST(Access, has_one_rule_for_each_method_and_none_for_anything_else) {
  std::set<std::string> in_the_table;
  for (const auto& rule : access_rules()) {
    EXPECT_TRUE(in_the_table.insert(std::string(rule.interface) + "." + std::string(rule.member)).second)
        << rule.interface << "." << rule.member << " stands twice";
  }
  const auto xml = in_the_xml();
  EXPECT_GE(xml.size(), 25U);
  EXPECT_EQ(in_the_table, xml);
}

TEST(Access, uses_only_actions_that_polkit_is_told_of) {
  const auto policy = read(dbus_folder() / "org.hal9000.policy");
  const auto known = [&](std::string_view action) {
    return policy.find("<action id=\"" + std::string(action) + "\">") != std::string::npos;
  };
  EXPECT_TRUE(known(manage_own_worker));
  for (const auto& rule : access_rules()) {
    const bool has_action = rule.access != Access::anyone && rule.access != Access::root;
    EXPECT_EQ(has_action, !rule.action.empty()) << rule.member;
    EXPECT_TRUE(!has_action || known(rule.action)) << rule.action;
  }
}

TEST(Access, lets_anyone_only_look) {
  for (const auto& rule : access_rules()) {
    if (rule.access == Access::anyone) {
      const bool looks = rule.member == "GetWorker" || rule.member == "ListWorkers" || rule.member == "ListImages";
      EXPECT_TRUE(looks) << rule.member;
    }
  }
}

TEST(Access, refuses_what_has_no_rule) {
  EXPECT_FALSE(access_rule("org.hal9000.Manager1", "Attach").has_value());
  EXPECT_FALSE(access_rule("org.hal9000.Manager1", "").has_value());
  EXPECT_FALSE(access_rule("", "Spawn").has_value());
  EXPECT_EQ(access_rule("org.hal9000.Worker1", "Attach")->action, "org.hal9000.attach-any-worker");
}

TEST(Errors, have_a_name_each) {
  std::set<std::string_view> seen;
  for (const Errc code : all_errcs) {
    const auto name = dbus_error_name(code);
    EXPECT_TRUE(seen.insert(name).second) << name;
    EXPECT_TRUE(code == Errc::denied ? name == "org.freedesktop.DBus.Error.AccessDenied"
                                     : name.substr(0, 18) == "org.hal9000.Error.")
        << name;
  }
  EXPECT_EQ(dbus_error_name(Errc::limit), "org.hal9000.Error.LimitExceeded");
}

TEST(Errors, text_for_the_bus_is_always_valid) {
  EXPECT_EQ(bus_text("größe\n"), "größe\n");
  EXPECT_EQ(bus_text(""), "");
  for (const auto& text : {std::string("a\xff"), std::string("a\0b", 3), std::string(100, '\xc0')}) {
    const auto clean = bus_text(text);
    EXPECT_TRUE(text::is_utf8(clean)) << clean;
    EXPECT_EQ(clean.find('\0'), std::string::npos);
    EXPECT_NE(clean, "");
  }
}

}  // namespace
}  // namespace hal::bus
