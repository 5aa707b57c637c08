#include "install/package.hpp"

#include "base/text.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace hal::install {

namespace {

/** npm's limit; PyPI's names are shorter. */
constexpr std::size_t max_name_bytes = 214;
constexpr std::size_t max_version_bytes = 64;

bool is_lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_letter_or_digit(char c) {
  return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

/** Old packages have capitals in their names. */
bool is_npm_part(std::string_view part) {
  return !part.empty() && part.front() != '.' && part.front() != '-' && part.front() != '_' &&
         std::all_of(part.begin(), part.end(),
                     [](char c) { return is_letter_or_digit(c) || c == '-' || c == '.' || c == '_' || c == '~'; });
}

bool is_npm_name(std::string_view name) {
  if (name.starts_with('@')) {
    const auto slash = name.find('/');
    return slash != std::string_view::npos && is_npm_part(name.substr(1, slash - 1)) &&
           is_npm_part(name.substr(slash + 1));
  }
  return is_npm_part(name);
}

bool is_pypi_name(std::string_view name) {
  return !name.empty() && is_letter_or_digit(name.front()) && is_letter_or_digit(name.back()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_letter_or_digit(c) || c == '-' || c == '.' || c == '_'; });
}

/** Letters and digits first: neither an option nor a path. */
bool is_version(std::string_view version, std::string_view also_first) {
  const auto first = [&](char c) { return is_letter_or_digit(c) || also_first.find(c) != std::string_view::npos; };
  return !version.empty() && version.size() <= max_version_bytes && first(version.front()) &&
         std::all_of(version.begin(), version.end(),
                     [&](char c) { return first(c) || c == '.' || c == '-' || c == '+' || c == '_' || c == '!'; });
}

Error wrong(std::string_view what, std::string_view text) {
  return {Errc::invalid_argument, fmt::format("'{}' {}", text::printable(text), what)};
}

}  // namespace

std::string Package::requirement() const {
  return version.empty() ? name : fmt::format("{}{}{}", name, registry == Registry::npm ? "@" : "==", version);
}

std::string Package::text() const {
  return fmt::format("{}:{}", registry == Registry::npm ? "npm" : "pypi", requirement());
}

Result<Package> parse_package(std::string_view text) {
  const auto colon = text.find(':');
  const auto kind = text.substr(0, colon);
  if (colon == std::string_view::npos || (kind != "npm" && kind != "pypi")) {
    return wrong("names no package: write npm:NAME[@VERSION] or pypi:NAME[==VERSION]", text);
  }
  const auto rest = text.substr(colon + 1);
  const bool npm = kind == "npm";
  const std::string_view separator = npm ? "@" : "==";
  const auto end = rest.find(separator, 1);  // a scope begins with one
  const auto name = rest.substr(0, end);
  if (name.size() > max_name_bytes || (npm ? !is_npm_name(name) : !is_pypi_name(name))) {
    return wrong(fmt::format("is no name of a package of {}", npm ? "npm" : "PyPI"), name);
  }
  Package package{npm ? Registry::npm : Registry::pypi, std::string(name), {}};
  if (end != std::string_view::npos) {
    const auto version = rest.substr(end + separator.size());
    if (!is_version(version, npm ? "^~" : "")) {
      return wrong("is no version", version);
    }
    package.version = version;
  }
  return package;
}

}  // namespace hal::install
