#include "engine/messages.hpp"
#include "json/json.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace hal::engine {
namespace {

using worker::ContainerStatus;

nlohmann::json parsed(const std::string& text) {
  auto document = json::parse(text);
  EXPECT_TRUE(document);
  return document ? std::move(*document) : nlohmann::json();
}

TEST(EngineVersions, are_read_exactly) {
  EXPECT_EQ(*read_api_version("1.41"), (ApiVersion{1, 41}));
  EXPECT_LT(*read_api_version("1.9"), *read_api_version("1.10"));
  for (const std::string_view text : {"", "1", "1.", ".1", "v1.41", "1.41.0", "1.-1", "1.99999999999"}) {
    EXPECT_FALSE(read_api_version(text)) << text;
  }
}

TEST(EngineVersions, are_agreed_on_between_both_sides) {
  const auto agreed = [](ApiVersion oldest, ApiVersion newest) {
    return negotiate({.engine = "e", .newest = newest, .oldest = oldest});
  };
  EXPECT_EQ(*agreed({1, 12}, {1, 41}), (ApiVersion{1, 41}));
  EXPECT_EQ(*agreed({1, 44}, {1, 47}), (ApiVersion{1, 47}));
  EXPECT_EQ(*agreed({}, {1, 99}), newest_api);
  EXPECT_EQ(*agreed({}, {2, 0}), newest_api);
  for (const auto& refused : {agreed({1, 12}, {1, 40}), agreed({1, 52}, {1, 60})}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::unavailable);
  }
}

TEST(EngineRequests, create_confines_what_asks_for_nothing) {
  const auto body = parsed(create_body({.name = "n", .image = "i"}));
  const auto& host = body.at("HostConfig");
  EXPECT_EQ(body.at("Image"), "i");
  EXPECT_EQ(host.at("CapDrop"), nlohmann::json::array({"ALL"}));
  EXPECT_EQ(host.at("SecurityOpt"), nlohmann::json::array({"no-new-privileges"}));
  EXPECT_EQ(host.at("ReadonlyRootfs"), true);
  EXPECT_EQ(host.at("Privileged"), false);
  EXPECT_EQ(host.at("AutoRemove"), false);
  EXPECT_EQ(host.at("RestartPolicy").at("Name"), "no");
  EXPECT_EQ(host.at("LogConfig").at("Type"), "local");
  for (const auto* absent :
       {"CgroupParent", "Memory", "MemorySwap", "NanoCpus", "PidsLimit", "NetworkMode", "Binds", "Devices"}) {
    EXPECT_FALSE(host.contains(absent)) << absent;
  }
  for (const auto* absent : {"Cmd", "Entrypoint", "User", "Hostname", "WorkingDir"}) {
    EXPECT_FALSE(body.contains(absent)) << absent;
  }
}

TEST(EngineRequests, the_slice_is_named_as_the_engines_driver_wants_it) {
  EXPECT_EQ(cgroup_parent("systemd", "/x/hal9000.slice", "worker"), "hal9000-worker.slice");
  EXPECT_EQ(cgroup_parent("cgroupfs", "/x/hal9000.slice", "worker"), "/x/hal9000.slice/worker");
  for (const auto* driver : {"", "none", "other"}) {
    EXPECT_EQ(cgroup_parent(driver, "/hal9000.slice", "worker"), "");
  }
  for (const auto* driver : {"systemd", "cgroupfs"}) {
    EXPECT_EQ(cgroup_parent(driver, "/hal9000.slice", ""), "") << "a container of no slice is the engine's to place";
  }
  const auto body = parsed(create_body({.name = "n", .image = "i"}, "hal9000-worker.slice"));
  EXPECT_EQ(body.at("HostConfig").at("CgroupParent"), "hal9000-worker.slice");
}

TEST(EngineRequests, create_passes_on_all_that_is_asked_for) {
  worker::ContainerSpec spec{.name = "n", .image = "i"};
  spec.labels = {{"k", "v"}};
  spec.env = {"A=b"};
  spec.entrypoint = {"/init"};
  spec.command = {"x", "y"};
  spec.user = "1000:1000";
  spec.hostname = "h";
  spec.working_dir = "/w";
  spec.network = "container:abc";
  spec.memory_bytes = 100;
  spec.nano_cpus = 200;
  spec.pids = 300;
  spec.read_only_root = false;
  spec.tmpfs = {{"/tmp", "rw"}};
  spec.binds = {{"/a", "/b", true}, {"/c", "/d", false}};
  spec.stop_timeout = std::chrono::seconds(7);
  spec.log_bytes = 1000;
  const auto body = parsed(create_body(spec));
  const auto& host = body.at("HostConfig");
  EXPECT_EQ(body.at("Labels"), nlohmann::json({{"k", "v"}}));
  EXPECT_EQ(body.at("Env"), nlohmann::json::array({"A=b"}));
  EXPECT_EQ(body.at("Entrypoint"), nlohmann::json::array({"/init"}));
  EXPECT_EQ(body.at("Cmd"), nlohmann::json::array({"x", "y"}));
  EXPECT_EQ(body.at("User"), "1000:1000");
  EXPECT_EQ(body.at("Hostname"), "h");
  EXPECT_EQ(body.at("WorkingDir"), "/w");
  EXPECT_EQ(body.at("StopTimeout"), 7);
  EXPECT_EQ(host.at("NetworkMode"), "container:abc");
  EXPECT_EQ(host.at("Memory"), 100);
  EXPECT_EQ(host.at("MemorySwap"), 100);
  EXPECT_EQ(host.at("NanoCpus"), 200);
  EXPECT_EQ(host.at("PidsLimit"), 300);
  EXPECT_EQ(host.at("ReadonlyRootfs"), false);
  EXPECT_EQ(host.at("Tmpfs"), nlohmann::json({{"/tmp", "rw"}}));
  EXPECT_EQ(host.at("Mounts"),
            nlohmann::json::array({{{"Type", "bind"}, {"Source", "/a"}, {"Target", "/b"}, {"ReadOnly", true}},
                                   {{"Type", "bind"}, {"Source", "/c"}, {"Target", "/d"}, {"ReadOnly", false}}}));
  EXPECT_EQ(host.at("LogConfig").at("Config"), nlohmann::json({{"max-size", "500"}, {"max-file", "2"}}));
}

TEST(EngineRequests, update_names_only_what_changes) {
  EXPECT_EQ(parsed(update_body({.pids = 5})), nlohmann::json({{"PidsLimit", 5}}));
  EXPECT_EQ(parsed(update_body({.memory_bytes = 7, .nano_cpus = 8})),
            nlohmann::json({{"Memory", 7}, {"MemorySwap", 7}, {"NanoCpus", 8}}));
}

TEST(EngineRequests, filters_survive_any_value) {
  EXPECT_EQ(parsed(label_filter({{"a", "1"}, {"b", "x\"=y"}})), nlohmann::json({{"label", {"a=1", "b=x\"=y"}}}));
}

TEST(EngineAnswers, inspect_is_read) {
  const auto answer = read_inspect(R"({"Id":"c1","Name":"/worker",
      "State":{"Status":"exited","Pid":0,"ExitCode":137,"OOMKilled":true,"Health":{"Status":"unhealthy"}},
      "Config":{"Image":"img:1","Labels":{"a":"b"},"Tty":true},
      "HostConfig":{"Memory":5,"NanoCpus":6,"PidsLimit":null}})");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->info.id.value, "c1");
  EXPECT_EQ(answer->info.name, "worker");
  EXPECT_EQ(answer->info.image, "img:1");
  EXPECT_EQ(answer->info.labels.at("a"), "b");
  EXPECT_EQ(answer->info.status, ContainerStatus::exited);
  EXPECT_EQ(answer->info.exit_code, 137);
  EXPECT_TRUE(answer->info.oom_killed);
  EXPECT_TRUE(answer->info.unhealthy);
  EXPECT_EQ(answer->info.memory_bytes, 5U);
  EXPECT_EQ(answer->info.nano_cpus, 6U);
  EXPECT_EQ(answer->info.pids, 0U);
  EXPECT_TRUE(answer->terminal);
}

TEST(EngineAnswers, every_status_has_a_meaning) {
  const std::pair<std::string, ContainerStatus> statuses[] = {
      {"created", ContainerStatus::created},    {"running", ContainerStatus::running},
      {"restarting", ContainerStatus::running}, {"paused", ContainerStatus::paused},
      {"exited", ContainerStatus::exited},      {"removing", ContainerStatus::dead},
      {"dead", ContainerStatus::dead},          {"something new", ContainerStatus::dead}};
  for (const auto& [text, status] : statuses) {
    const auto answer = read_inspect(R"({"Id":"c","State":{"Status":")" + text + "\"}}");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->info.status, status) << text;
  }
}

TEST(EngineAnswers, wrong_shapes_are_protocol_errors) {
  for (const std::string_view body : {"", "[]", "{}", "null", "{\"Id\":1}", R"({"Id":"c","State":[]})",
                                      R"({"Id":"c","State":{"Pid":"x"}})", R"({"Id":"c","Config":{"Labels":3}})"}) {
    const auto answer = read_inspect(body);
    ASSERT_FALSE(answer) << body;
    EXPECT_EQ(answer.error().code, Errc::protocol);
  }
  for (const std::string_view body : {"", "{}", "[1]", "[{}]", R"([{"Id":2}])"}) {
    EXPECT_FALSE(read_list(body)) << body;
  }
  for (const std::string_view body : {"", "[]", R"({"memory_stats":1})", R"({"cpu_stats":{"cpu_usage":"x"}})"}) {
    EXPECT_FALSE(read_usage(body)) << body;
  }
  for (const std::string_view body :
       {"", "{}", R"({"ApiVersion":"x"})", R"({"ApiVersion":"1.41","MinAPIVersion":2})"}) {
    EXPECT_FALSE(read_version(body)) << body;
  }
}

TEST(EngineAnswers, usage_leaves_out_what_the_kernel_takes_back_first) {
  const auto v2 = read_usage(R"({"memory_stats":{"usage":1000,"stats":{"inactive_file":300}},
      "cpu_stats":{"cpu_usage":{"total_usage":77}},"pids_stats":{"current":4}})");
  ASSERT_TRUE(v2);
  EXPECT_EQ(v2->memory_bytes, 700U);
  EXPECT_EQ(v2->cpu_nanoseconds, 77U);
  EXPECT_EQ(v2->pids, 4U);
  const auto v1 =
      read_usage(R"({"memory_stats":{"usage":1000,"stats":{"inactive_file":1,"total_inactive_file":400}}})");
  ASSERT_TRUE(v1);
  EXPECT_EQ(v1->memory_bytes, 600U);
  const auto nothing = read_usage(R"({"memory_stats":{},"cpu_stats":null})");
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->memory_bytes, 0U);
  const auto odd = read_usage(R"({"memory_stats":{"usage":10,"stats":{"inactive_file":300}}})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->memory_bytes, 0U);
}

TEST(EngineStatus, maps_by_number_and_never_by_text) {
  for (const int status : {200, 201, 204, 304}) {
    EXPECT_TRUE(check_status(status, "", "x", Errc::busy)) << status;
  }
  const std::pair<int, Errc> statuses[] = {
      {400, Errc::invalid_argument}, {401, Errc::denied},   {403, Errc::denied},      {404, Errc::not_found},
      {409, Errc::already_exists},   {500, Errc::internal}, {501, Errc::unavailable}, {503, Errc::unavailable},
      {101, Errc::protocol},         {301, Errc::protocol}, {418, Errc::protocol},    {0, Errc::protocol}};
  for (const auto& [status, code] : statuses) {
    const auto result = check_status(status, R"({"message":"not found"})", "start it", Errc::already_exists);
    ASSERT_FALSE(result) << status;
    EXPECT_EQ(result.error().code, code) << status;
    EXPECT_TRUE(result.error().message.starts_with("start it: ")) << result.error().message;
  }
}

TEST(EngineStatus, says_what_the_engine_said) {
  EXPECT_EQ(error_text(R"({"message":"no such image"})"), "no such image");
  EXPECT_EQ(error_text(R"({"cause":"c","message":"m","response":500})"), "m");
  EXPECT_EQ(error_text("page not found\n"), "page not found");
  EXPECT_FALSE(error_text("").empty());
  EXPECT_FALSE(error_text("{\"message\":\"\"}").empty());
  EXPECT_LT(error_text(R"({"message":")" + std::string(10'000, 'x') + "\"}").size(), 600U);
}

}  // namespace
}  // namespace hal::engine
