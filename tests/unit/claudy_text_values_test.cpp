#include "claudy/text_values.hpp"

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

using namespace std::chrono_literals;

TEST(ParseSize, understands_bytes_and_units_of_1024) {
  const std::pair<const char*, std::uint64_t> table[] = {
      {"0", 0},
      {"1", 1},
      {"17B", 17},
      {"1k", 1024},
      {"1K", 1024},
      {"512M", 512ULL << 20},
      {"512MiB", 512ULL << 20},
      {"4G", 4ULL << 30},
      {"4g", 4ULL << 30},
      {"1.5G", 3ULL << 29},
      {"2T", 2ULL << 40},
      {"4294967296", 4ULL << 30},
  };
  for (const auto& [text, bytes] : table) {
    const auto size = parse_size(text);
    ASSERT_TRUE(size) << text;
    EXPECT_EQ(*size, bytes) << text;
  }
}

TEST(ParseSize, refuses_what_is_none) {
  for (const char* text : {"", "G", "-1", "+1", "4X", "4GB", "4 G", "4GiBs", "4iB", "1e3", "0x10", "inf", "nan",
                           "16777216T", "99999999999999999999"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().code, Errc::invalid_argument);
  }
}

TEST(ParseDuration, understands_units) {
  const std::pair<const char*, std::chrono::milliseconds> table[] = {{"10", 10s},      {"0", 0ms},   {"1.5s", 1500ms},
                                                                     {"250ms", 250ms}, {"2m", 2min}, {"1h", 1h}};
  for (const auto& [text, time] : table) {
    const auto duration = parse_duration(text);
    ASSERT_TRUE(duration) << text;
    EXPECT_EQ(*duration, time) << text;
  }
}

TEST(ParseDuration, refuses_what_is_none) {
  for (const char* text : {"", "s", "-1s", "1d", "1 s", "inf", "25h", "1e9"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(ParseCpus, is_a_number_above_zero) {
  EXPECT_DOUBLE_EQ(*parse_cpus("2"), 2.0);
  EXPECT_DOUBLE_EQ(*parse_cpus("0.5"), 0.5);
  for (const char* text : {"", "0", "-1", "two", "1cpu", "inf"}) {
    EXPECT_FALSE(parse_cpus(text)) << text;
  }
}

TEST(FormatSize, keeps_one_digit) {
  EXPECT_EQ(format_size(0), "0B");
  EXPECT_EQ(format_size(1023), "1023B");
  EXPECT_EQ(format_size(1536), "1.5K");
  EXPECT_EQ(format_size(4ULL << 30), "4.0G");
  EXPECT_EQ(format_size(UINT64_MAX), "16777216.0T");
}

TEST(FormatAge, grows_in_units) {
  constexpr std::uint64_t now = 1'000'000'000'000;
  EXPECT_EQ(format_age(0, now), "-");
  EXPECT_EQ(format_age(now, now), "0s");
  EXPECT_EQ(format_age(now + 5, now), "0s");  // a clock that was set back
  EXPECT_EQ(format_age(now - 59'000'000, now), "59s");
  EXPECT_EQ(format_age(now - 60'000'000, now), "1m");
  EXPECT_EQ(format_age(now - 7'200'000'000, now), "2h");
  EXPECT_EQ(format_age(now - 200'000'000'000, now), "2d");
}

TEST(SnakeCase, spells_every_property_of_the_interfaces) {
  const std::pair<const char*, const char*> table[] = {
      {"Id", "id"},
      {"Name", "name"},
      {"ContainerId", "container_id"},
      {"CreatedUSec", "created_usec"},
      {"LastActivityUSec", "last_activity_usec"},
      {"MemoryMax", "memory_max"},
      {"CPUUsageNSec", "cpu_usage_nsec"},
      {"CPUMax", "cpu_max"},
      {"MainPID", "main_pid"},
      {"NWorkers", "n_workers"},
      {"ServerInfo", "server_info"},
      {"ProtocolVersion", "protocol_version"},
      {"IdleTimeoutUSec", "idle_timeout_usec"},
      {"ChromaContainerId", "chroma_container_id"},
      {"", ""},
  };
  for (const auto& [name, key] : table) {
    EXPECT_EQ(snake_case(name), key);
  }
}

}  // namespace
}  // namespace hal::claudy
