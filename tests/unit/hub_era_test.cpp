#include "hub/era.hpp"
#include "jsonrpc/places.hpp"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::hub {
namespace {

using Json = nlohmann::json;

Json asking(const std::string& method, const Json& meta) {
  return {{"jsonrpc", "2.0"}, {"id", 1}, {"method", method}, {"params", {{"_meta", meta}}}};
}

const char version[] = "io.modelcontextprotocol/protocolVersion";
const char capabilities[] = "io.modelcontextprotocol/clientCapabilities";
const char level[] = "io.modelcontextprotocol/logLevel";

TEST(Era, is_told_by_the_first_request) {
  const struct {
    std::string method;
    Json meta;
    bool modern;
  } cases[] = {
      {"initialize", Json::object(), false},           {"initialize", {{version, "2025-11-25"}}, false},
      {"initialize", {{version, "2026-07-28"}}, true}, {"server/discover", Json::object(), true},
      {"tools/list", Json::object(), false},           {"tools/list", {{version, "2026-07-28"}}, true},
      {"tools/list", {{version, "2099-01-01"}}, true}, {"tools/list", {{"progressToken", 1}}, false},
  };
  for (const auto& one : cases) {
    const auto line = asking(one.method, one.meta).dump();
    EXPECT_EQ(opens_modern(jsonrpc::scan(line)), one.modern) << line;
  }
}

TEST(Era, requests_must_say_what_they_are) {
  const struct {
    Json meta;
    int code;
  } cases[] = {
      {{{version, "2026-07-28"}, {capabilities, Json::object()}}, 0},
      {{{version, "2026-07-28"}, {capabilities, Json::object()}, {level, "debug"}}, 0},
      {{{version, "2026-07-28"}, {capabilities, Json::object()}, {level, "loud"}}, -32602},
      {{{version, "2026-07-28"}, {capabilities, Json::array()}}, -32602},
      {{{version, "2026-07-28"}}, -32602},
      {{{version, 20260728}, {capabilities, Json::object()}}, -32602},
      {{{capabilities, Json::object()}}, -32602},
      {Json::object(), -32602},
      {{{version, "2025-11-25"}, {capabilities, Json::object()}}, -32022},
  };
  for (const auto& one : cases) {
    const auto line = asking("tools/list", one.meta).dump();
    const auto refusal = modern_refusal(jsonrpc::scan(line));
    ASSERT_EQ(refusal.has_value(), one.code != 0) << line;
    if (refusal) {
      EXPECT_EQ(Json::parse(*refusal)["error"]["code"], one.code) << line;
    }
  }
}

TEST(Era, errors_tell_servers_apart) {
  for (const int code : {-32020, -32021, -32022}) {
    EXPECT_TRUE(is_modern_error(Json({{"code", code}}).dump()));
    EXPECT_TRUE(refuses_legacy(Json({{"code", code}}).dump()));
  }
  for (const auto* error : {R"({"code":-32601})", R"({"code":-32602})", R"({"code":"-32022"})", R"({"code":-3.2e4})",
                            R"({})", R"([])", R"("x")"}) {
    EXPECT_FALSE(is_modern_error(error)) << error;
  }
  EXPECT_TRUE(refuses_legacy(R"({"code":-32601})"));
  EXPECT_FALSE(refuses_legacy(R"({"code":-32603})"));
}

TEST(Era, codes_that_the_revision_keeps_for_itself_are_replaced) {
  const std::pair<int, int> codes[] = {{-32002, -32602}, {-32000, -32603},
                                       {-32001, -32603}, {-32019, -32603},
                                       {-32020, -32020}, {-32021, -32021},
                                       {-32022, -32022}, {-32042, -32603},
                                       {-32052, -32603}, {-32099, -32603},
                                       {-32100, -32100}, {-32601, -32601},
                                       {-31999, -31999}, {5, 5}};
  for (const auto& [legacy, modern] : codes) {
    EXPECT_EQ(to_modern_code(legacy), modern);
    EXPECT_EQ(Json::parse(to_modern_error(Json({{"message", "m"}, {"code", legacy}}).dump())),
              Json({{"message", "m"}, {"code", modern}}));
  }
  EXPECT_EQ(to_modern_error(R"({"code":1e3,"x":[]})"), R"({"code":1e3,"x":[]})");
}

TEST(Era, results_get_what_the_revision_wants_and_keep_the_rest) {
  const struct {
    const char* method;
    const char* result;
    const char* expected;
  } cases[] = {
      {"tools/call", "{}", R"({"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n"}}})"},
      {"tools/call", R"({ "a" : 1.0 })",
       R"({"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n"}},"a" : 1.0 })"},
      {"tools/call", R"({"resultType":"x","_meta":{"io.modelcontextprotocol/serverInfo":{}}})",
       R"({"resultType":"x","_meta":{"io.modelcontextprotocol/serverInfo":{}}})"},
      {"tools/call", R"({"a":1,"_meta":{"k":2}})",
       R"({"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n"},"k":2},"a":1})"},
      {"tools/list", R"({"_meta":[],"ttlMs":9})",
       R"({"resultType":"complete","cacheScope":"private","_meta":[],"ttlMs":9})"},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(to_modern_result(one.method, one.result, R"({"name":"n"})"), one.expected);
  }
}

TEST(Era, an_initialize_result_becomes_a_discover_result) {
  const auto result = Json::parse(to_discover_result(
      R"({"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{"list":{}}},"instructions":"do"})",
      R"({"name":"n","version":"1"})"));
  EXPECT_EQ(result["capabilities"], Json({{"tools", Json::object()}}));
  EXPECT_EQ(result["instructions"], "do");
  EXPECT_EQ(result["supportedVersions"], Json({"2026-07-28"}));
  EXPECT_EQ(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "n");
  EXPECT_TRUE(result.contains("ttlMs") && result.contains("cacheScope"));
}

TEST(Era, our_own_probe_is_a_request_of_the_revision) {
  const auto line = R"({"jsonrpc":"2.0","id":1,"method":"server/discover","params":)" + discover_params() + "}";
  EXPECT_FALSE(modern_refusal(jsonrpc::scan(line)));
}

}  // namespace
}  // namespace hal::hub
