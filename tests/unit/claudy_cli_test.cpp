#include "claudy/cli.hpp"

#include <gtest/gtest.h>

namespace hal::claudy {
namespace {

bool is_command(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments);
  return parsed && std::holds_alternative<Command>(*parsed);
}

std::string error_of(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments);
  if (parsed) {
    return "";
  }
  EXPECT_EQ(parsed.error().code, Errc::invalid_argument);
  return parsed.error().message;
}

TEST(CommandLine, takes_every_verb_in_its_plain_form) {
  const std::vector<std::string> table[] = {
      {},
      {"/tmp"},
      {"--", "--model", "opus"},
      {"/tmp", "--", "-p", "ls"},
      {"--detach-keys", "ctrl-a,d", "/tmp", "--", "ls"},
      {"--user"},
      {"spawn"},
      {"spawn",        ".",         "--name",    "n",        "--memory", "4G",       "--cpus",
       "0.5",          "--pids",    "10",        "--env",    "A=B",      "-e",       "C=",
       "--read-only",  "--network", "isolated",  "--server", "a",        "--server", "b",
       "--request-id", "r",         "--no-wait", "--json",   "--",       "bash",     "-l"},
      {"ls"},
      {"ls", "--all", "--json", "--watch", "--user"},
      {"show", "w"},
      {"attach", "w", "--detach-keys", "none"},
      {"exec", "w", "ls", "-la", "--all"},
      {"exec", "w", "status"},
      {"exec", "-T", "w", "--", "ls", "-la", "--", "x"},
      {"exec", "w", "git", "log", "--", "file"},
      {"logs", "w", "-f", "-n", "10", "-t"},
      {"stop", "a", "b", "--timeout", "5s"},
      {"kill", "a", "-s", "TERM"},
      {"rm", "a", "b"},
      {"restart", "a"},
      {"pause", "a"},
      {"resume", "a"},
      {"limits", "a", "--memory", "1G"},
      {"send", "a", "a text"},
      {"send", "a", "--", "-text"},
      {"capture", "a", "-n", "100"},
      {"status", "--json"},
      {"server", "ls", "--watch"},
      {"server", "show", "memory"},
      {"server", "start", "memory"},
      {"server", "stop", "memory"},
      {"server", "restart", "memory"},
      {"server", "call", "memory", "tools/list"},
      {"server", "call", "memory", "tools/call", "{}"},
      {"parent"},
      {"parent", "status"},
      {"parent", "restart-chroma"},
      {"pool"},
      {"pool", "status"},
      {"pool", "scale"},
      {"pool", "warm"},
      {"pool", "drain"},
      {"pool", "cleanup"},
      {"daemon", "start"},
      {"daemon", "stop"},
      {"daemon", "restart"},
      {"daemon", "status"},
  };
  for (const auto& arguments : table) {
    EXPECT_TRUE(is_command(arguments)) << testing::PrintToString(arguments) << error_of(arguments);
  }
}

TEST(CommandLine, refuses_what_it_does_not_understand_and_names_it) {
  const std::pair<std::vector<std::string>, const char*> table[] = {
      {{"--nonsense"}, "--nonsense"},
      {{"ls", "--nonsense"}, "--nonsense"},
      {{"ls", "extra"}, "extra"},
      {{".", "ls"}, "."},
      {{"show"}, "WORKER"},
      {{"exec", "w"}, "PROGRAM"},
      {{"exec", "w", "-t", "-T", "--", "x"}, "terminal"},
      {{"spawn", "--memory", "4X"}, "4X"},
      {{"spawn", "--cpus", "0"}, "--cpus"},
      {{"spawn", "--pids", "-1"}, "--pids"},
      {{"spawn", "--network", "host"}, "--network"},
      {{"spawn", "--env", "=x"}, "--env"},
      {{"spawn", "--env", "HAL_NOT_SET_ANYWHERE"}, "HAL_NOT_SET_ANYWHERE"},
      {{"attach", "w", "--detach-keys", "ctrl-1"}, "ctrl-1"},
      {{"logs", "w", "-n", "many"}, "many"},
      {{"stop", "w", "--timeout", "soon"}, "soon"},
      {{"server"}, "claudy server --help"},
      {{"server", "nonsense"}, "nonsense"},
      {{"daemon"}, "claudy daemon --help"},
  };
  for (const auto& [arguments, named] : table) {
    const auto message = error_of(arguments);
    EXPECT_NE(message.find(named), std::string::npos) << testing::PrintToString(arguments) << ": " << message;
    EXPECT_NE(message.find("--help"), std::string::npos) << message;
  }
}

TEST(CommandLine, explains_every_verb) {
  const std::vector<std::string> verbs[] = {{},
                                            {"spawn"},
                                            {"ls"},
                                            {"show"},
                                            {"attach"},
                                            {"exec"},
                                            {"logs"},
                                            {"stop"},
                                            {"kill"},
                                            {"rm"},
                                            {"restart"},
                                            {"pause"},
                                            {"resume"},
                                            {"limits"},
                                            {"send"},
                                            {"capture"},
                                            {"status"},
                                            {"server"},
                                            {"server", "ls"},
                                            {"server", "show"},
                                            {"server", "start"},
                                            {"server", "call"},
                                            {"parent"},
                                            {"parent", "restart-chroma"},
                                            {"daemon"},
                                            {"daemon", "start"}};
  for (auto verb : verbs) {
    verb.emplace_back("--help");
    const auto parsed = parse_command_line(verb);
    ASSERT_TRUE(parsed) << testing::PrintToString(verb);
    const auto* information = std::get_if<Information>(&*parsed);
    ASSERT_NE(information, nullptr);
    std::string usage = "Usage: claudy";
    for (std::size_t i = 0; i + 1 < verb.size(); ++i) {
      usage += " " + verb[i];
    }
    EXPECT_NE(information->text.find(usage), std::string::npos) << information->text;
  }
}

TEST(CommandLine, tells_its_version) {
  const auto parsed = parse_command_line({"--version"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(std::get<Information>(*parsed).text.substr(0, 7), "claudy ");
}

TEST(CommandLine, user_may_stand_before_and_after_the_verb) {
  for (const auto& arguments :
       {std::vector<std::string>{"--user", "ls"}, {"ls", "--user"}, {"server", "ls", "--user"}}) {
    auto parsed = parse_command_line(arguments);
    ASSERT_TRUE(parsed);
    EXPECT_TRUE(std::get<Command>(*parsed).global.user);
  }
  EXPECT_FALSE(std::get<Command>(*parse_command_line({"ls"})).global.user);
}

}  // namespace
}  // namespace hal::claudy
