#include "base/text.hpp"
#include "guard/options.hpp"
#include "guard/rules.hpp"

namespace hal::guard {

namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

struct Expanded {
  std::string path;
  /** A variable in it may be empty. */
  bool uncertain = false;
};

/** What becomes of the text if no variable is set but HOME and PWD: the accident of rm -r of all in $DIR. */
Expanded with_empty_variables(std::string_view text) {
  Expanded out;
  while (!text.empty()) {
    const auto dollar = std::min(text.find('$'), text.size());
    out.path += text.substr(0, dollar);
    text.remove_prefix(dollar);
    if (text.empty()) {
      break;
    }
    std::string_view name;
    if (text.starts_with("${")) {
      const auto end = std::min(text.find('}'), text.size());
      name = text.substr(2, std::max<std::size_t>(end, 2) - 2);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (name.find(":?") != std::string_view::npos || name.find('-') != std::string_view::npos) {
        out.path += "set";  // the shell sees to it that it is not empty
        continue;
      }
    } else {
      std::size_t end = 1;
      while (end < text.size() && is_name_character(text[end])) {
        ++end;
      }
      name = text.substr(1, end - 1);
      text.remove_prefix(end);
    }
    const bool known = name == "HOME" || name == "PWD";
    out.path += !known ? "" : name == "HOME" ? "~" : ".";
    out.uncertain |= !known;
  }
  return out;
}

/** The path without empty parts, "." and what ".." takes back. */
std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (const auto part : text::split(path, '/')) {
    if (part.empty() || part == ".") {
      continue;
    }
    const bool goes_back = part == ".." && !parts.empty() && parts.back() != "..";
    if (goes_back) {
      parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  return parts;
}

/** "*", ".*", "{*,.*}" and their like: all that is in a folder. */
bool is_everything(std::string_view part) {
  return part.find('*') != std::string_view::npos && part.find_first_not_of("*.?[]!{},^") == std::string_view::npos;
}

/** Folders that are no one's to delete, and the user's home and project. */
bool is_precious(std::string_view path, bool uncertain) {
  const bool absolute = path.starts_with('/');
  auto parts = parts_of(path);
  if (!parts.empty() && is_everything(parts.back())) {
    parts.pop_back();
    if (parts.empty()) {
      return true;
    }
  }
  if (parts.empty()) {
    return !path.empty();  // "/", ".", "./", "a/.."
  }
  if (uncertain) {
    return false;  // "$DIR/build" is where builds are
  }
  if (absolute) {
    // /usr, /home, /workspace; and /home/NAME. What is in /tmp is there to go.
    return parts.back() != "tmp" && (parts.size() == 1 || (parts.size() == 2 && parts[0] == "home"));
  }
  const bool home = parts[0].starts_with('~');
  return (home && parts.size() == 1) || parts.back() == "..";
}

}  // namespace

std::optional<std::string> objection_to_rm(const std::vector<std::string>& words) {
  const auto arguments = arguments_of(words, 1);
  if (!arguments.has('r') && !arguments.has('R') && !arguments.has("--recursive")) {
    return {};
  }
  for (const auto operand : arguments.operands) {
    const auto [path, uncertain] = with_empty_variables(operand);
    if (is_precious(path, uncertain)) {
      return "rm -r of " + text::printable(operand) + " deletes everything there" +
             (uncertain ? " where the variable is empty (${NAME:?} makes sure that it is not)" : "");
    }
    const auto parts = parts_of(path);
    if (!parts.empty() && parts.back() == ".git") {
      return "rm -r of .git deletes the history with all that was not pushed";
    }
  }
  return {};
}

}  // namespace hal::guard
