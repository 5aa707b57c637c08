#include "base/limits.hpp"
#include "bus/options.hpp"

#include <fcntl.h>
#include <signal.h>

#include <limits>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hal::bus {
namespace {

using Strings = std::vector<std::string>;
using Dictionary = std::map<std::string, std::string>;

Values one(const char* key, Value value) {
  Values values;
  values.emplace(key, std::move(value));
  return values;
}

template <class T>
void expect_error(const Result<T>& result, Errc code, std::string_view part) {
  ASSERT_FALSE(result.has_value()) << part;
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

TEST(SpawnOptions, default_to_what_the_contract_says) {
  const auto options = read_spawn_options({});
  ASSERT_TRUE(options.has_value());
  const auto& request = *options;
  EXPECT_EQ(request.name, "");
  EXPECT_EQ(request.memory_bytes, std::nullopt);
  EXPECT_EQ(request.cpus, std::nullopt);
  EXPECT_EQ(request.pids, std::nullopt);
  EXPECT_EQ(request.servers, std::nullopt);
  EXPECT_FALSE(request.read_only);
  EXPECT_TRUE(request.wait);
  EXPECT_EQ(request.network, worker::Network::parent);
  EXPECT_EQ(options->claim, worker::Claim::prefer);
}

TEST(SpawnOptions, are_all_read) {
  Values values;
  values.emplace("name", "w-1");
  values.emplace("profile", "node");
  values.emplace("image", "registry.example:5000/a/b:tag@sha256:0");
  values.emplace("command", Strings{"sh", "-c", ""});
  values.emplace("env", Dictionary{{"A_1", "b=c\n"}, {"_", ""}});
  values.emplace("memory", std::uint64_t{6} << 20);
  values.emplace("cpus", 0.5);
  values.emplace("pids", std::uint64_t{1});
  values.emplace("read_only", true);
  values.emplace("network", "isolated");
  values.emplace("servers", Strings{"b", "a", "b"});
  values.emplace("claim", "never");
  values.emplace("request_id", "r:1");
  values.emplace("wait", false);
  const auto options = read_spawn_options(std::move(values));
  ASSERT_TRUE(options.has_value()) << options.error().message;
  const auto& request = *options;
  EXPECT_EQ(request.name, "w-1");
  EXPECT_EQ(request.profile, "node");
  EXPECT_EQ(request.image, "registry.example:5000/a/b:tag@sha256:0");
  EXPECT_EQ(request.command, (Strings{"sh", "-c", ""}));
  EXPECT_EQ(request.env, (Dictionary{{"A_1", "b=c\n"}, {"_", ""}}));
  EXPECT_EQ(request.memory_bytes, std::uint64_t{6} << 20);
  EXPECT_EQ(request.cpus, 0.5);
  EXPECT_EQ(request.pids, 1U);
  EXPECT_TRUE(request.read_only);
  EXPECT_EQ(request.network, worker::Network::isolated);
  EXPECT_EQ(request.servers, (Strings{"a", "b"}));
  EXPECT_EQ(options->claim, worker::Claim::never);
  EXPECT_EQ(request.request_id, "r:1");
  EXPECT_FALSE(request.wait);
}

TEST(ClaimOptions, are_those_of_a_spawn_that_requires_a_warm_worker) {
  const auto options = read_claim_options(one("name", "w"));
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->claim, worker::Claim::require);
  EXPECT_EQ(options->name, "w");
  expect_error(read_claim_options(one("claim", "require")), Errc::invalid_argument, "claim");
  expect_error(read_claim_options(one("colour", "red")), Errc::invalid_argument, "colour");
}

TEST(PoolSettings, are_read_and_at_least_one_is_needed) {
  Values values;
  values.emplace("min", std::uint32_t{1});
  values.emplace("idle_timeout_usec", std::uint64_t{7});
  const auto settings = read_pool_settings(std::move(values));
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->min, 1U);
  EXPECT_FALSE(settings->max);
  EXPECT_EQ(settings->idle_timeout, std::chrono::microseconds(7));
  expect_error(read_pool_settings({}), Errc::invalid_argument, "at least one");
  expect_error(read_pool_settings(one("max", std::uint64_t{3})), Errc::invalid_argument, "max");
  expect_error(read_pool_settings(one("idle_timeout_usec", std::uint64_t{1} << 63)), Errc::invalid_argument,
               "idle_timeout_usec");
}

TEST(SpawnOptions, of_another_type_are_refused_with_key_and_type) {
  const std::pair<const char*, const char*> types[] = {
      {"name", "s"},     {"profile", "s"}, {"image", "s"},      {"command", "as"},  {"env", "a{ss}"},
      {"memory", "t"},   {"cpus", "d"},    {"pids", "t"},       {"read_only", "b"}, {"network", "s"},
      {"servers", "as"}, {"claim", "s"},   {"request_id", "s"}, {"wait", "b"}};
  for (const auto& [key, type] : types) {
    expect_error(read_spawn_options(one(key, OtherValue{"(ii)"})), Errc::invalid_argument,
                 fmt::format("option \"{}\" must be of type \"{}\", not \"(ii)\"", key, type));
  }
  expect_error(read_spawn_options(one("memory", std::uint32_t{5})), Errc::invalid_argument,
               "option \"memory\" must be of type \"t\", not \"u\"");
}

TEST(SpawnOptions, that_nobody_knows_are_refused_by_name) {
  expect_error(read_spawn_options(one("colour", "red")), Errc::invalid_argument, "there is no option \"colour\" here");
  expect_error(read_spawn_options(one("Name", "x")), Errc::invalid_argument, "there is no option \"Name\" here");
}

TEST(SpawnOptions, hold_their_bounds) {
  const auto refused = [](const char* key, Value value, Errc code = Errc::invalid_argument) {
    expect_error(read_spawn_options(one(key, std::move(value))), code, key);
  };
  refused("name", "");
  refused("name", "../x");
  refused("name", std::string(limits::name_bytes + 1, 'a'));
  refused("profile", "a b");
  refused("image", "");
  refused("image", "a b");
  refused("image", "-x");
  refused("image", std::string(256, 'a'));
  refused("command", Strings{});
  refused("command", Strings{""});
  refused("command", Strings(limits::argv_words + 1, "a"), Errc::limit);
  refused("command", Strings{std::string(max_command_bytes, 'a')}, Errc::limit);
  refused("command", Strings{"a", std::string("\0", 1)});
  refused("command", Strings{"a", "\xff"});
  refused("env", Dictionary{{"", "x"}});
  refused("env", Dictionary{{"1A", "x"}});
  refused("env", Dictionary{{"A=B", "x"}});
  refused("env", Dictionary{{"A", std::string("\0", 1)}});
  refused("memory", min_memory_bytes - 1);
  refused("memory", std::numeric_limits<std::uint64_t>::max());
  for (const double cpus :
       {0.0, -1.0, 0.001, 5000.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    refused("cpus", cpus);
  }
  refused("pids", std::uint64_t{0});
  refused("pids", std::uint64_t{1} << 23);
  refused("network", "host");
  refused("servers", Strings{"a/b"});
  refused("servers", Strings(257, "a"), Errc::limit);
  refused("claim", "maybe");
  refused("request_id", "");
  refused("request_id", "a b");
  refused("request_id", std::string(129, 'a'));
}

TEST(SpawnOptions, bound_command_and_environment_together) {
  const std::string half(max_command_bytes / 2, 'a');
  Values values = one("command", Strings{half});
  EXPECT_TRUE(read_spawn_options(one("command", Strings{half})).has_value());
  EXPECT_TRUE(read_spawn_options(one("env", Dictionary{{"A", half}})).has_value());
  values.emplace("env", Dictionary{{"A", half}});
  expect_error(read_spawn_options(std::move(values)), Errc::limit, "together");
}

TEST(AttachOptions, take_both_sizes_or_none) {
  const auto none = read_attach_options({});
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(none->size.rows, 24);
  EXPECT_EQ(none->size.columns, 80);
  EXPECT_EQ(none->term, "xterm-256color");

  Values values = one("rows", std::uint16_t{50});
  values.emplace("columns", std::uint16_t{100});
  values.emplace("term", "rxvt+cap.x-1");
  const auto both = read_attach_options(std::move(values));
  ASSERT_TRUE(both.has_value()) << both.error().message;
  EXPECT_EQ(both->size.rows, 50);
  EXPECT_EQ(both->size.columns, 100);
  EXPECT_EQ(both->term, "rxvt+cap.x-1");

  expect_error(read_attach_options(one("rows", std::uint16_t{50})), Errc::invalid_argument, "columns");
  expect_error(read_attach_options(one("columns", std::uint16_t{50})), Errc::invalid_argument, "rows");
  expect_error(read_attach_options(one("term", "a;b")), Errc::invalid_argument, "term");
  expect_error(read_attach_options(one("term", "")), Errc::invalid_argument, "term");
  Values zero = one("rows", std::uint16_t{0});
  zero.emplace("columns", std::uint16_t{1});
  expect_error(read_attach_options(std::move(zero)), Errc::invalid_argument, "more than 0");
}

TEST(ExecOptions, know_what_goes_with_a_terminal) {
  const auto plain = read_exec_options({"true"}, {});
  ASSERT_TRUE(plain.has_value());
  EXPECT_FALSE(plain->terminal.has_value());
  EXPECT_EQ(plain->cwd, "");

  const auto terminal = read_exec_options({"true"}, one("terminal", true));
  ASSERT_TRUE(terminal.has_value() && terminal->terminal.has_value());
  EXPECT_EQ(terminal->terminal->rows, 24);

  Values sized = one("rows", std::uint16_t{1});
  sized.emplace("columns", std::uint16_t{1});
  expect_error(read_exec_options({"true"}, std::move(sized)), Errc::invalid_argument, "no terminal");

  const auto with_stderr = read_exec_options({"true"}, one("stderr", UniqueFd(::open("/dev/null", O_WRONLY))));
  ASSERT_TRUE(with_stderr.has_value());
  EXPECT_GE(with_stderr->error_output.get(), 0);

  Values both = one("stderr", UniqueFd(::open("/dev/null", O_WRONLY)));
  both.emplace("terminal", true);
  expect_error(read_exec_options({"true"}, std::move(both)), Errc::invalid_argument, "stderr");
}

TEST(ExecOptions, refuse_bad_commands_and_places) {
  expect_error(read_exec_options({}, {}), Errc::invalid_argument, "argv");
  expect_error(read_exec_options({""}, {}), Errc::invalid_argument, "argv");
  expect_error(read_exec_options(Strings(1000, "x"), {}), Errc::limit, "argv");
  expect_error(read_exec_options({"true"}, one("cwd", "src")), Errc::invalid_argument, "cwd");
  expect_error(read_exec_options({"true"}, one("command", "x")), Errc::invalid_argument, "command");
}

TEST(LogOptions, are_read) {
  Values values = one("follow", true);
  values.emplace("tail", std::uint32_t{0});
  values.emplace("timestamps", true);
  const auto options = read_log_options(std::move(values));
  ASSERT_TRUE(options.has_value());
  EXPECT_TRUE(options->follow);
  EXPECT_EQ(options->tail, 0U);
  EXPECT_TRUE(options->timestamps);
  EXPECT_EQ(read_log_options({})->tail, std::nullopt);
}

TEST(Limits, need_at_least_one) {
  expect_error(read_limits({}), Errc::invalid_argument, "no limit");
  const auto change = read_limits(one("cpus", 1.5));
  ASSERT_TRUE(change.has_value());
  EXPECT_EQ(change->nano_cpus, 1'500'000'000U);
  EXPECT_EQ(change->memory_bytes, std::nullopt);
  expect_error(read_limits(one("memory", std::uint64_t{0})), Errc::invalid_argument, "memory");
  expect_error(read_limits(one("swap", std::uint64_t{0})), Errc::invalid_argument, "swap");
}

TEST(Arguments, signals_have_names_and_numbers) {
  EXPECT_EQ(*read_signal("TERM"), SIGTERM);
  EXPECT_EQ(*read_signal("SIGTERM"), SIGTERM);
  EXPECT_EQ(*read_signal("15"), SIGTERM);
  EXPECT_EQ(*read_signal("9"), SIGKILL);
  EXPECT_EQ(*read_signal("40"), 40);
  for (const auto* text : {"", "0", "-9", "65", "SIG", "SIGSIGTERM", "term", "9 ", "SIGNONE", "33"}) {
    expect_error(read_signal(text), Errc::invalid_argument, "is no signal");
  }
}

TEST(Arguments, paths_are_absolute_text) {
  EXPECT_EQ(*read_path("workspace", "/a"), "/a");
  for (const auto& path : {std::string(), std::string("a"), std::string("/\xff"), std::string("/\0", 2),
                           "/" + std::string(limits::path_bytes, 'a')}) {
    expect_error(read_path("workspace", path), Errc::invalid_argument, "workspace");
  }
}

TEST(Arguments, times_and_ids) {
  EXPECT_EQ(read_stop_timeout(0)->count(), default_stop_timeout_ms);
  EXPECT_EQ(read_stop_timeout(1)->count(), 1);
  expect_error(read_stop_timeout(max_stop_timeout_ms + 1), Errc::invalid_argument, "timeout_ms");
  EXPECT_EQ(read_exec_id("18446744073709551615")->value, 18446744073709551615U);
  expect_error(read_exec_id("18446744073709551616"), Errc::not_found, "program");
  expect_error(read_exec_id("x"), Errc::not_found, "program");
}

TEST(TraceOptions, are_all_read) {
  const auto none = read_trace_options({});
  ASSERT_TRUE(none.has_value());
  EXPECT_FALSE(none->payloads);
  EXPECT_FALSE(none->all);
  EXPECT_EQ(none->worker, "");
  Values values;
  values.emplace("payloads", true);
  values.emplace("worker", "0123456789ab");
  const auto all = read_trace_options(std::move(values));
  ASSERT_TRUE(all.has_value());
  EXPECT_TRUE(all->payloads);
  EXPECT_EQ(all->worker, "0123456789ab");
}

TEST(TraceOptions, bad_ones_are_named) {
  expect_error(read_trace_options(one("payloads", "yes")), Errc::invalid_argument,
               "\"payloads\" must be of type \"b\"");
  expect_error(read_trace_options(one("worker", "../x")), Errc::invalid_argument, "\"worker\" must be");
  expect_error(read_trace_options(one("worker", "")), Errc::invalid_argument, "\"worker\" must be");
  expect_error(read_trace_options(one("all", true)), Errc::invalid_argument, "there is no option \"all\"");
}

}  // namespace
}  // namespace hal::bus
