#include "claudy/detach_keys.hpp"

#include "base/text.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::claudy {

namespace {

/** Longer ones nobody types; the bound of what is held back. */
constexpr std::size_t max_keys = 8;

constexpr bool is_control(char key) {
  return key >= 0 && key < 0x20;
}

/** The key's character as terminals with extended keys number it: Ctrl-A is the control form of 'a', Ctrl-] of ']'. */
unsigned code_of(char key) {
  const auto code = static_cast<unsigned>(key) + 0x40U;
  return code >= 'A' && code <= 'Z' ? code + 0x20U : code;
}

/** How many bytes at the start of `bytes` are this key; 0 if it is another. */
std::size_t key_bytes(std::string_view bytes, char key) {
  if (!bytes.empty() && bytes.front() == key) {
    return 1;
  }
  if (!is_control(key) || bytes.empty() || bytes.front() != '\x1b') {
    return 0;
  }
  for (const auto& form : {fmt::format("\x1b[{};5u", code_of(key)), fmt::format("\x1b[27;5;{}~", code_of(key))}) {
    if (bytes.substr(0, form.size()) == form) {
      return form.size();
    }
  }
  return 0;
}

Result<char> parse_key(std::string_view word) {
  constexpr std::string_view prefix = "ctrl-";
  if (word.size() == 1 && word[0] > ' ' && word[0] < 0x7F) {
    return word[0];
  }
  if (word.size() == prefix.size() + 1 && word.substr(0, prefix.size()) == prefix) {
    const char c = word.back();
    if (c >= 'a' && c <= 'z') {
      return static_cast<char>(c - 'a' + 1);
    }
    if (c == '@' || (c >= '[' && c <= '_')) {
      return static_cast<char>(c - '@');
    }
  }
  return Error{Errc::invalid_argument, fmt::format("'{}' is no key: write a character or ctrl-X, as in {}",
                                                   text::printable(word), DetachKeys::default_spec)};
}

}  // namespace

Result<DetachKeys> DetachKeys::parse(std::string_view spec) {
  DetachKeys keys;
  if (spec == "none") {
    return keys;
  }
  for (const auto word : text::split(spec, ',')) {
    const auto key = parse_key(word);
    if (!key) {
      return key.error();
    }
    keys.keys_ += *key;
  }
  if (keys.keys_.size() > max_keys) {
    return Error{Errc::invalid_argument, fmt::format("at most {} keys can detach", max_keys)};
  }
  return keys;
}

DetachKeys::Match DetachKeys::match_at(std::string_view bytes) const {
  for (const char key : keys_) {
    if (bytes.empty()) {
      return Match::partial;
    }
    const auto used = key_bytes(bytes, key);
    if (used == 0) {
      return Match::none;
    }
    bytes.remove_prefix(used);
  }
  return Match::full;
}

DetachKeys::Output DetachKeys::feed(std::string_view typed) {
  Output output;
  if (keys_.empty()) {
    output.forward = typed;
    return output;
  }
  const std::string pending = std::exchange(held_, {}) + std::string(typed);
  for (std::size_t at = 0; at < pending.size(); ++at) {
    const auto rest = std::string_view(pending).substr(at);
    const auto match = match_at(rest);
    if (match == Match::full) {
      output.detached = true;
      return output;
    }
    if (match == Match::partial) {
      held_ = rest;
      return output;
    }
    output.forward += pending[at];
  }
  return output;
}

std::string DetachKeys::describe() const {
  std::string text;
  for (const char key : keys_) {
    text += text.empty() ? "" : " ";
    text += is_control(key) ? fmt::format("Ctrl-{}", static_cast<char>(key + '@')) : std::string(1, key);
  }
  return text;
}

}  // namespace hal::claudy
