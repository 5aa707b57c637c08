#include "claudy/package_command.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace hal::claudy {

namespace {

enum class Fetcher { none, npx, uvx };

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string_view file_name(std::string_view path) {
  auto name = path.substr(path.find_last_of("/\\") + 1);
  for (const std::string_view ending : {".cmd", ".exe"}) {
    if (name.ends_with(ending)) {
      name.remove_suffix(ending.size());
    }
  }
  return name;
}

/** Takes the words that call the fetcher off the front. */
Fetcher take_fetcher(std::vector<std::string>& words) {
  if (words.size() > 2 && file_name(words[0]) == "cmd" && is_one_of(words[1], {"/c", "/C"})) {
    words.erase(words.begin(), words.begin() + 2);
  }
  if (words.empty()) {
    return Fetcher::none;
  }
  const auto program = file_name(words[0]);
  const auto take = [&words](std::ptrdiff_t count, Fetcher fetcher) {
    words.erase(words.begin(), words.begin() + count);
    return fetcher;
  };
  if (program == "npx") {
    return take(1, Fetcher::npx);
  }
  if (program == "uvx") {
    return take(1, Fetcher::uvx);
  }
  if (program == "uv" && words.size() > 2 && words[1] == "tool" && words[2] == "run") {
    return take(3, Fetcher::uvx);
  }
  if (program == "pipx" && words.size() > 1 && words[1] == "run") {
    return take(2, Fetcher::uvx);
  }
  return Fetcher::none;
}

/** What could be a package of a registry; the daemon looks again. */
bool is_package(std::string_view text) {
  return !text.empty() && text.front() != '.' && text.front() != '/' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(),
                     [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                              std::string_view("@/._~^+-=!").find(c) != std::string_view::npos;
                     }) &&
         (text.find('/') == std::string_view::npos || text.front() == '@');
}

/** "NAME@VERSION" of uvx, or "NAME==VERSION". */
std::string pypi_requirement(const std::string& text) {
  const auto at = text.find('@');
  if (at == std::string::npos) {
    return text;
  }
  const auto version = text.substr(at + 1);
  return version == "latest" ? text.substr(0, at) : text.substr(0, at) + "==" + version;
}

}  // namespace

bool fetches_package(const std::vector<std::string>& words) {
  auto copy = words;
  return take_fetcher(copy) != Fetcher::none;
}

std::optional<PackageCommand> package_command(std::vector<std::string> words) {
  const auto fetcher = take_fetcher(words);
  if (fetcher == Fetcher::none) {
    return std::nullopt;
  }
  const bool npx = fetcher == Fetcher::npx;
  std::string package;
  std::size_t next = 0;
  for (; next < words.size() && words[next].starts_with('-'); ++next) {
    const std::string_view word = words[next];
    if (word == "--") {
      ++next;
      break;
    }
    const auto names_package = npx ? is_one_of(word, {"-p", "--package"}) : is_one_of(word, {"--from", "--spec"});
    const std::string_view with_value = npx ? "--package=" : "--from=";
    if (names_package && next + 1 < words.size() && package.empty()) {
      package = words[++next];
    } else if (word.starts_with(with_value) && package.empty()) {
      package = word.substr(with_value.size());
    } else if (!is_one_of(word, npx ? std::initializer_list<std::string_view>{"-y", "--yes", "-q", "--quiet"}
                                    : std::initializer_list<std::string_view>{"-q", "--quiet", "-n", "--no-cache"})) {
      return std::nullopt;  // more packages, another python, a shell: not the same server any more
    }
  }
  if (next == words.size()) {
    return std::nullopt;
  }
  PackageCommand command;
  if (package.empty()) {
    package = words[next];
  } else {
    command.bin = words[next];
  }
  if (!is_package(package)) {
    return std::nullopt;
  }
  command.package = npx ? "npm:" + package : "pypi:" + pypi_requirement(package);
  command.args.assign(words.begin() + static_cast<std::ptrdiff_t>(next) + 1, words.end());
  return command;
}

}  // namespace hal::claudy
