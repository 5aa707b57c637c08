#include "jsonrpc/scanner.hpp"

#include "jsonrpc/plain_text.hpp"

#include <bitset>
#include <cstring>

namespace hal::jsonrpc {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/** Bytes of the UTF-8 character at `at` that is not ASCII; 0 for an invalid one (RFC 3629, table of section 4). */
std::size_t utf8_bytes(const char* at, const char* end) {
  const auto byte = [at](std::size_t i) { return static_cast<unsigned char>(at[i]); };
  const auto tail = [&](std::size_t i) { return byte(i) >= 0x80 && byte(i) <= 0xBF; };
  const auto left = static_cast<std::size_t>(end - at);
  const unsigned lead = byte(0);
  if (lead >= 0xC2 && lead <= 0xDF) {
    return left >= 2 && tail(1) ? 2 : 0;
  }
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : 0xBF;
    return left >= 3 && byte(1) >= low && byte(1) <= high && tail(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xF4 ? 0x8F : 0xBF;
    return left >= 4 && byte(1) >= low && byte(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool Scanner::take_string(std::string_view& content) {
  skip_blanks();
  const char* begin = at_;
  if (!pass_string()) {
    return false;
  }
  content = {begin + 1, static_cast<std::size_t>(at_ - begin - 2)};
  return true;
}

bool Scanner::pass_string() {
  if (!next_is('"')) {
    return false;
  }
  ++at_;
  for (;;) {
    at_ = skip_plain_ascii(at_, end_);
    if (at_ == end_) {
      return false;
    }
    if (*at_ == '"') {
      ++at_;
      return true;
    }
    if (!pass_character()) {
      return false;
    }
  }
}

bool Scanner::pass_character() {
  const auto byte = static_cast<unsigned char>(*at_);
  if (byte == '\\') {
    return pass_escape();
  }
  const std::size_t bytes = byte < 0x20 ? 0 : byte < 0x80 ? 1 : utf8_bytes(at_, end_);
  at_ += bytes;
  return bytes != 0;
}

bool Scanner::pass_escape() {
  ++at_;
  if (at_ == end_) {
    return false;
  }
  const char kind = *at_++;
  if (kind != 'u') {
    return std::strchr("\"\\/bfnrt", kind) != nullptr && kind != '\0';
  }
  for (int i = 0; i < 4; ++i) {
    if (at_ == end_ || !is_hex(*at_++)) {
      return false;
    }
  }
  return true;
}

bool Scanner::pass_digits() {
  const char* begin = at_;
  while (at_ != end_ && is_digit(*at_)) {
    ++at_;
  }
  return at_ != begin;
}

bool Scanner::pass_number() {
  if (next_is('-')) {
    ++at_;
  }
  if (next_is('0')) {
    ++at_;
  } else if (!pass_digits()) {
    return false;
  }
  if (next_is('.')) {
    ++at_;
    if (!pass_digits()) {
      return false;
    }
  }
  if (next_is('e') || next_is('E')) {
    ++at_;
    if (next_is('+') || next_is('-')) {
      ++at_;
    }
    return pass_digits();
  }
  return true;
}

bool Scanner::pass_literal(std::string_view word) {
  if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word)) {
    return false;
  }
  at_ += word.size();
  return true;
}

bool Scanner::pass_scalar() {
  if (at_ == end_) {
    return false;
  }
  switch (*at_) {
    case '"':
      return pass_string();
    case 't':
      return pass_literal("true");
    case 'f':
      return pass_literal("false");
    case 'n':
      return pass_literal("null");
    default:
      return pass_number();
  }
}

bool Scanner::pass_key() {
  skip_blanks();
  return pass_string() && take(':');
}

bool Scanner::take_value(std::string_view& raw) {
  skip_blanks();
  const char* begin = at_;
  std::bitset<max_depth> is_object;  // of each open level of this value
  std::size_t open = 0;
  for (;;) {  // at a value
    skip_blanks();
    if (next_is('{') || next_is('[')) {
      if (depth_ + open >= max_depth) {
        return false;
      }
      const bool object = *at_++ == '{';
      is_object[open++] = object;
      skip_blanks();
      if (!next_is(object ? '}' : ']')) {
        if (object && !pass_key()) {
          return false;
        }
        continue;
      }
    } else if (!pass_scalar()) {
      return false;
    }
    while (open > 0 && !take(',')) {  // a value ends here, and maybe the levels around it
      if (!next_is(is_object[open - 1] ? '}' : ']')) {
        return false;
      }
      ++at_;
      --open;
    }
    if (open == 0) {
      raw = {begin, static_cast<std::size_t>(at_ - begin)};
      return true;
    }
    if (is_object[open - 1] && !pass_key()) {
      return false;
    }
  }
}

}  // namespace hal::jsonrpc
