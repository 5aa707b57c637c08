#include "metrics/exposition.hpp"
#include "metrics/figures.hpp"

#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::metrics {
namespace {

using Type = Exposition::Type;
using nlohmann::json;

TEST(Exposition, WritesEveryKindAsTheFormatWantsIt) {
  Exposition out;
  out.family("calls", Type::counter, "How many.");
  out.sample({{"server", "a"}}, std::uint64_t{18446744073709551615U});
  out.family("used_seconds", Type::counter, "Of time.", "seconds");
  out.sample({}, 1.5);
  out.family("mood", Type::stateset, "Which.");
  out.states({{"of", "it"}}, {"good", "bad"}, "bad");
  out.states({}, {"good", "bad"}, "unknown");
  out.family("build", Type::info, "What.");
  out.info({{"version", "1"}});
  out.family("answer_seconds", Type::histogram, "How long.", "seconds");
  out.histogram({}, {{16, 2}, {32, 0}, {UINT64_MAX, 1}});
  EXPECT_EQ(
      out.finish(),
      "# TYPE calls counter\n# HELP calls How many.\ncalls_total{server=\"a\"} 18446744073709551615\n"
      "# TYPE used_seconds counter\n# UNIT used_seconds seconds\n# HELP used_seconds Of time.\n"
      "used_seconds_total 1.5\n"
      "# TYPE mood stateset\n# HELP mood Which.\nmood{of=\"it\",mood=\"good\"} 0\nmood{of=\"it\",mood=\"bad\"} 1\n"
      "# TYPE build info\n# HELP build What.\nbuild_info{version=\"1\"} 1\n"
      "# TYPE answer_seconds histogram\n# UNIT answer_seconds seconds\n# HELP answer_seconds How long.\n"
      "answer_seconds_bucket{le=\"1.6e-05\"} 2\nanswer_seconds_bucket{le=\"3.2e-05\"} 2\n"
      "answer_seconds_bucket{le=\"+Inf\"} 3\n# EOF\n");
}

TEST(Exposition, EscapesWhatWouldEndALabel) {
  Exposition out;
  out.family("x", Type::gauge, "One\nline.");
  out.sample({{"name", "a\"b\\c\nd"}}, std::uint64_t{1});
  EXPECT_EQ(out.finish(), "# TYPE x gauge\n# HELP x One\\nline.\nx{name=\"a\\\"b\\\\c\\nd\"} 1\n# EOF\n");
}

TEST(Figures, ADaemonThatDoesNotRunIsAFigure) {
  const auto text = render({.trouble = "it does not run"});
  EXPECT_NE(text.find("hal9000_up 0\n"), std::string::npos);
  EXPECT_EQ(text.find("hal9000_workers"), std::string::npos);
}

std::shared_ptr<const json> parsed(const std::string& text) {
  return std::make_shared<const json>(json::parse(text));
}

TEST(Figures, CountsWorkersOfEveryState) {
  Figures figures;
  figures.manager = parsed("{}");
  figures.objects = parsed(R"({"workers": [
      {"id": "w1", "state": "running", "owner": 7, "profile": "base", "cpu_usage_nsec": 2500000000},
      {"id": "w2", "state": "running"}]})");
  const auto text = render(figures);
  EXPECT_NE(text.find("hal9000_workers{state=\"running\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("hal9000_workers{state=\"failed\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("hal9000_worker_cpu_seconds_total{worker=\"w1\",owner=\"7\",profile=\"base\"} 2.5\n"),
            std::string::npos);
}

/** Another version of the daemon may say things in another way: figures are missing then, and nothing else happens. */
TEST(Figures, TakesAnyShape) {
  for (const std::string odd :
       {"null", "1", "\"x\"", "[]", "{}", R"([{"state":1}])", R"([{"latency":[[1],[1,"2"],3]}])"}) {
    Figures figures;
    figures.manager = parsed(R"({"engine":)" + odd + R"(,"version":)" + odd + "}");
    figures.objects = parsed(R"({"servers":)" + odd + R"(,"workers":)" + odd + R"(,"pool":)" + odd + "}");
    EXPECT_NE(render(figures).find("# EOF\n"), std::string::npos) << odd;
  }
}

}  // namespace
}  // namespace hal::metrics
