#include "worker/claude_session.hpp"

#include "base/names.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace hal::worker {

namespace {

/** Options by which a command says itself which conversation it is about, or that it is about none. */
constexpr std::array<std::string_view, 12> own_session = {"-c",           "--continue", "-r", "--resume",
                                                          "--session-id", "--from-pr",  "-p", "--print",
                                                          "--help",       "--version",  "-v", "-h"};

bool says_which(std::string_view word) {
  const auto option = word.substr(0, word.find('='));
  return std::find(own_session.begin(), own_session.end(), option) != own_session.end();
}

/** A version 4 UUID by its form, which is what Claude Code asks for; the last group is the worker's id. */
std::string session_id(const WorkerId& id) {
  return "68616c39-3030-4030-8000-" + id.value;
}

}  // namespace

bool has_session(const Worker& worker) {
  const auto& command = worker.command;
  if (command.empty() || command[0].substr(command[0].rfind('/') + 1) != "claude") {
    return false;
  }
  const bool bare = command.size() == 1 || command[1].starts_with('-');
  return bare && std::none_of(command.begin() + 1, command.end(), says_which);
}

std::string transcript_of(const Worker& worker) {
  const auto folder = worker.env.find("CLAUDE_CONFIG_DIR");
  return (folder != worker.env.end() ? folder->second : std::string(names::worker_home) + "/.claude") +
         "/projects/-workspace/" + session_id(worker.id) + ".jsonl";
}

std::vector<std::string> session_command(const Worker& worker, bool resume) {
  auto command = worker.command;
  if (has_session(worker)) {
    command.insert(command.begin() + 1, {resume ? "--resume" : "--session-id", session_id(worker.id)});
  }
  return command;
}

}  // namespace hal::worker
