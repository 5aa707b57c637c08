#include "server/expand.hpp"

#include "base/text.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace hal::server {

namespace {

/** Bytes of one word of the command line or one value of the environment; the kernel takes 128 KiB. */
constexpr std::size_t max_word_bytes = 64 * 1024;

bool is_variable_name(std::string_view name) {
  const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && word(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return word(c) || digit(c); });
}

/** The value of what stands between the braces. */
Result<std::string> value_of(std::string_view inside, const std::map<std::string, std::string>& variables) {
  const auto separator = inside.find(":-");
  const auto name = inside.substr(0, separator);
  if (!is_variable_name(name)) {
    return Error{Errc::invalid_argument, fmt::format("${{{}}} names no variable", text::printable(inside))};
  }
  const auto found = variables.find(std::string(name));
  if (found != variables.end() && (!found->second.empty() || separator == std::string_view::npos)) {
    return found->second;
  }
  if (separator != std::string_view::npos) {
    return std::string(inside.substr(separator + 2));
  }
  return Error{Errc::invalid_argument, fmt::format("the variable {} is not set", name)};
}

}  // namespace

Result<std::string> expand(std::string_view text, const std::map<std::string, std::string>& variables) {
  std::string result;
  for (;;) {
    const auto start = text.find("${");
    result.append(text.substr(0, start));
    if (start == std::string_view::npos) {
      return result;
    }
    text.remove_prefix(start + 2);
    const auto end = text.find('}');
    if (end == std::string_view::npos) {
      return Error{Errc::invalid_argument, "${ without its }"};
    }
    const auto value = value_of(text.substr(0, end), variables);
    if (!value) {
      return value.error();
    }
    result.append(*value);
    text.remove_prefix(end + 1);
  }
}

Result<std::string> expand_member(std::string_view text, const std::string& path,
                                  const std::map<std::string, std::string>& variables) {
  auto result = expand(text, variables);
  if (!result) {
    return result.error().with(path);
  }
  if (result->find('\0') != std::string::npos) {
    return Error{Errc::invalid_argument, path + ": has a zero byte"};
  }
  if (result->size() > max_word_bytes) {
    return Error{Errc::invalid_argument, fmt::format("{}: is longer than {} bytes", path, max_word_bytes)};
  }
  return result;
}

}  // namespace hal::server
