#include "guard/rules.hpp"

#include "base/text.hpp"
#include "guard/options.hpp"

#include <algorithm>
#include <array>

namespace hal::guard {

namespace {

using Words = std::vector<std::string>;
using Objection = std::optional<std::string>;

template <std::size_t count>
bool is_one_of(std::string_view word, const std::array<std::string_view, count>& names) {
  return std::find(names.begin(), names.end(), word) != names.end();
}

std::string_view name_of(std::string_view program) {
  return program.substr(program.rfind('/') + 1);
}

/** Programs that start the command after their options; and their options whose value is the next word. */
struct Wrapper {
  std::string_view name;
  std::string_view with_value;
  /** Operands of its own before the command. */
  std::size_t operands = 0;
};
constexpr std::array<Wrapper, 16> wrappers = {{{"sudo", "ugCDhprtTU"},
                                               {"doas", "uC"},
                                               {"env", "uCS"},
                                               {"command", ""},
                                               {"builtin", ""},
                                               {"exec", "a"},
                                               {"nice", "n"},
                                               {"ionice", "cnp"},
                                               {"nohup", ""},
                                               {"time", "fo"},
                                               {"timeout", "ks", 1},
                                               {"setsid", ""},
                                               {"stdbuf", "ioe"},
                                               {"xargs", "adEIiLlnPs"},
                                               {"flock", "wEc", 1},
                                               {"busybox", ""}}};

bool is_assignment_like(std::string_view word) {
  const auto end = word.find('=');
  return end != std::string_view::npos && end != 0 && word[0] != '-';
}

/** Where the command begins that words[0] starts; words.size() for none. */
std::size_t command_after(const Wrapper& wrapper, const Words& words) {
  std::size_t at = 1;
  for (; at < words.size(); ++at) {
    const std::string_view word = words[at];
    if (word == "--") {
      ++at;
      break;
    }
    if (wrapper.name == "env" && is_assignment_like(word)) {
      continue;
    }
    if (word.size() < 2 || word[0] != '-') {
      break;
    }
    if (word.size() == 2 && wrapper.with_value.find(word[1]) != std::string_view::npos) {
      ++at;
    }
  }
  return std::min(at + wrapper.operands, words.size());
}

constexpr std::array<std::string_view, 7> shells = {"sh", "bash", "dash", "zsh", "ksh", "ash", "su"};

/** The script of `sh -c SCRIPT`, also as the last of several letters. */
const std::string* script_of(const Words& words) {
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word.size() > 1 && word[0] == '-' && word[1] != '-' && word.find('c') != std::string_view::npos) {
      return &words[i + 1];
    }
  }
  return nullptr;
}

/** find deletes what it finds: from where matters. */
Objection objection_to_find(const Words& words, const Guards& guards, int depth) {
  Words roots = {"rm", "-r"};
  std::size_t at = 1;
  for (; at < words.size() && !words[at].starts_with('-') && words[at] != "(" && words[at] != "!"; ++at) {
    if (words[at] != ".") {
      roots.push_back(words[at]);
    }
  }
  for (; at < words.size(); ++at) {
    const bool executes = words[at] == "-exec" || words[at] == "-execdir" || words[at] == "-ok";
    if (words[at] == "-delete" || (executes && at + 1 < words.size() && name_of(words[at + 1]) == "rm")) {
      return guards.rm ? objection_to_rm(roots) : Objection();
    }
    if (executes) {
      return objection_to({{words.begin() + static_cast<std::ptrdiff_t>(at) + 1, words.end()}, {}}, guards, depth + 1);
    }
  }
  return {};
}

/** They say that a file is there, or a text that is no file. */
constexpr std::array<std::string_view, 9> harmless = {"ls",   "test",   "[",    "[[",   "stat",
                                                      "echo", "printf", "find", "touch"};

/** So do these of git. */
constexpr std::array<std::string_view, 4> harmless_to_git = {"check-ignore", "ls-files", "status", "--cached"};

Objection objection_to_files(const std::vector<std::string>& files) {
  const auto file = std::find_if(files.begin(), files.end(), is_env_file);
  return file != files.end() ? env_objection(*file) : Objection();
}

Objection objection_to_words(const Words& words) {
  const auto program = name_of(words[0]);
  const auto harmless_word = [](const std::string& word) { return is_one_of(word, harmless_to_git); };
  if (is_one_of(program, harmless) || (program == "git" && std::any_of(words.begin(), words.end(), harmless_word))) {
    return {};
  }
  for (const auto& word : words) {
    std::string_view path = word;
    // A program that is to run with it does not show it.
    if (path.starts_with("--env-file")) {
      continue;
    }
    // --file=PATH, if=PATH, @PATH of curl, REVISION:PATH of git.
    path = path.substr(path.find_last_of("=@:") + 1);
    if (is_env_file(path)) {
      return env_objection(path);
    }
  }
  return {};
}

Objection objection_within(std::string_view script, const Guards& guards, int depth) {
  if (depth > max_script_depth) {
    return "the command has too many scripts within each other";
  }
  const auto commands = commands_of(script);
  if (!commands) {
    return commands.error().message;
  }
  for (const auto& command : *commands) {
    if (auto objection = objection_to(command, guards, depth)) {
      return objection;
    }
  }
  return {};
}

}  // namespace

bool set_guard(Guards& guards, std::string_view name) {
  bool* const guard = name == "git" ? &guards.git : name == "rm" ? &guards.rm : name == "env" ? &guards.env : nullptr;
  if (guard != nullptr) {
    *guard = true;
  }
  return guard != nullptr;
}

bool is_env_file(std::string_view path) {
  const auto name = name_of(path);
  if (name == ".envrc") {
    return true;
  }
  if (!name.starts_with(".env") ||
      (name.size() > 4 && std::string_view(".*?[{").find(name[4]) == std::string_view::npos)) {
    return false;
  }
  constexpr std::array<std::string_view, 5> examples = {"example", "sample", "template", "dist", "defaults"};
  return !is_one_of(name.substr(name.rfind('.') + 1), examples);
}

std::string env_objection(std::string_view path) {
  return text::printable(path) + " holds secrets, which are not for a conversation (.env.example is for all)";
}

Objection objection_to(const Command& command, const Guards& guards, int depth) {
  if (auto objection = guards.env ? objection_to_files(command.redirections) : Objection()) {
    return objection;
  }
  const auto& words = command.words;
  if (words.empty()) {
    return {};
  }
  const auto program = name_of(words[0]);
  if (depth > max_script_depth) {
    return "the command has too many commands within each other";
  }
  const auto wrapper =
      std::find_if(wrappers.begin(), wrappers.end(), [program](const Wrapper& one) { return one.name == program; });
  if (wrapper != wrappers.end()) {
    const auto first = static_cast<std::ptrdiff_t>(command_after(*wrapper, words));
    return objection_to({{words.begin() + first, words.end()}, {}}, guards, depth + 1);
  }
  if (auto objection = guards.env ? objection_to_words(words) : Objection()) {
    return objection;
  }
  if (is_one_of(program, shells)) {
    const auto* script = script_of(words);
    return script != nullptr ? objection_within(*script, guards, depth + 1) : Objection();
  }
  if (program == "eval") {
    std::string script;
    std::for_each(words.begin() + 1, words.end(), [&script](const std::string& word) { script += word + " "; });
    return objection_within(script, guards, depth + 1);
  }
  if (program == "find") {
    return objection_to_find(words, guards, depth);
  }
  if (program == "git" && guards.git) {
    return objection_to_git(words);
  }
  if (program == "rm" && guards.rm) {
    return objection_to_rm(words);
  }
  return {};
}

Objection objection_to_script(std::string_view script, const Guards& guards) {
  return objection_within(script, guards, 0);
}

}  // namespace hal::guard
