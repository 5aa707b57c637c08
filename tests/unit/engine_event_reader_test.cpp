#include "engine/event_reader.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hal::engine {
namespace {

using Kind = worker::ContainerEvent::Kind;

std::string line(std::string_view action, std::string_view attributes = R"("org.hal9000.id":"w1","name":"n")") {
  return R"({"status":"x","id":"c1","Type":"container","Action":")" + std::string(action) +
         R"(","Actor":{"ID":"c1","Attributes":{)" + std::string(attributes) + "}},\"time\":1}\n";
}

TEST(EventReader, reads_each_kind) {
  const std::pair<std::string_view, Kind> kinds[] = {
      {"create", Kind::created},    {"start", Kind::started},   {"die", Kind::died},
      {"oom", Kind::out_of_memory}, {"destroy", Kind::removed}, {"remove", Kind::removed},
      {"pause", Kind::paused},      {"unpause", Kind::resumed}, {"health_status: unhealthy", Kind::health}};
  for (const auto& [action, kind] : kinds) {
    const auto event = read_event(line(action));
    ASSERT_TRUE(event && *event) << action;
    EXPECT_EQ((*event)->kind, kind);
    EXPECT_EQ((*event)->id.value, "c1");
  }
}

TEST(EventReader, takes_labels_of_ours_and_the_exit_code) {
  const auto event =
      read_event(line("die", R"("org.hal9000.id":"w1","org.hal9000.role":"worker","image":"i","exitCode":"137")"));
  ASSERT_TRUE(event && *event);
  EXPECT_EQ((*event)->exit_code, 137);
  EXPECT_EQ((*event)->labels,
            (std::map<std::string, std::string>{{"org.hal9000.id", "w1"}, {"org.hal9000.role", "worker"}}));
}

TEST(EventReader, passes_over_what_does_not_concern_us) {
  for (const auto& text : {line("exec_create: sh -c true"), line("rename"), line("attach"),
                           std::string(R"({"Type":"network","Action":"start","Actor":{"ID":"n"}})"),
                           std::string(R"({"Type":"container","Action":"start"})"), std::string("{}")}) {
    const auto event = read_event(text);
    ASSERT_TRUE(event) << event.error().message;
    EXPECT_FALSE(*event) << text;
  }
}

TEST(EventReader, a_broken_line_is_an_error) {
  for (const std::string_view text : {"", "null", "[]", "{", "garbage", R"({"Type":1})", R"({"Action":[]})",
                                      R"({"Type":"container","Action":"start","Actor":1})",
                                      R"({"Type":"container","Action":"start","Actor":{"ID":7}})",
                                      R"({"Type":"container","Action":"start","Actor":{"ID":"x","Attributes":[]}})"}) {
    const auto event = read_event(text);
    ASSERT_FALSE(event) << text;
    EXPECT_EQ(event.error().code, Errc::protocol);
  }
}

TEST(EventReader, gives_the_same_events_however_the_stream_is_cut) {
  const auto bytes = line("start") + "\n\r\n" + line("rename") + line("oom") + line("die", R"("exitCode":"3")");
  for (std::size_t pieces = 1; pieces <= bytes.size(); ++pieces) {
    EventReader reader;
    std::vector<Kind> kinds;
    for (std::size_t at = 0; at < bytes.size(); at += pieces) {
      reader.feed(std::string_view(bytes).substr(at, pieces));
      for (;;) {
        const auto event = reader.next();
        ASSERT_TRUE(event) << event.error().message;
        if (!*event) {
          break;
        }
        kinds.push_back((*event)->kind);
      }
    }
    ASSERT_EQ(kinds, (std::vector<Kind>{Kind::started, Kind::out_of_memory, Kind::died})) << pieces;
  }
}

TEST(EventReader, a_line_without_end_is_refused) {
  for (const std::size_t pieces : {4096U, 2'000'000U}) {
    EventReader reader;
    std::size_t fed = 0;
    auto event = reader.next();
    while (event && fed < 4'000'000) {
      reader.feed(std::string(pieces, 'x'));
      fed += pieces;
      event = reader.next();
    }
    ASSERT_FALSE(event);
    EXPECT_EQ(event.error().code, Errc::limit);
    EXPECT_LE(fed, EventReader::max_line_bytes + pieces);
  }
  EventReader reader;
  reader.feed(std::string(EventReader::max_line_bytes + 1, ' ') + "\n" + std::string("[") +
              std::string(EventReader::max_line_bytes, ' ') + "]\n");
  const auto event = reader.next();
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, Errc::limit);
}

}  // namespace
}  // namespace hal::engine
