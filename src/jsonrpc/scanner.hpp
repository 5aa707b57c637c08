#pragma once

#include "jsonrpc/envelope.hpp"

#include <cstddef>
#include <string_view>

/** Private to this folder: a cursor over JSON text that checks what it passes. */
namespace hal::jsonrpc {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  void skip_blanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) {
      ++at_;
    }
  }
  [[nodiscard]] bool at_end() const { return at_ == end_; }
  [[nodiscard]] bool next_is(char c) const { return at_ != end_ && *at_ == c; }
  /** Passes `c` and blanks before it. */
  [[nodiscard]] bool take(char c) {
    skip_blanks();
    if (!next_is(c)) {
      return false;
    }
    ++at_;
    return true;
  }
  /** Passes a string and blanks before it; `content` is what stands between the quotes. */
  [[nodiscard]] bool take_string(std::string_view& content);
  /** Passes any value and blanks before it, nested at most max_depth - depth() levels more. */
  [[nodiscard]] bool take_value(std::string_view& raw);

  /**
   * Passes an object and calls `on_member(key)` at each value, with the key as it reads without escapes; that call must
   * pass the value. False where the text is no object or on_member said false.
   */
  template <class OnMember>
  [[nodiscard]] bool take_object(OnMember on_member) {
    if (!take('{')) {
      return false;
    }
    ++depth_;
    skip_blanks();
    if (next_is('}')) {
      ++at_;
      --depth_;
      return true;
    }
    do {
      std::string_view key;
      if (!take_string(key) || !take(':')) {
        return false;
      }
      const bool is_plain = key.find('\\') == std::string_view::npos;
      if (!(is_plain ? on_member(key) : on_member(std::string_view(unescape({key.data() - 1, key.size() + 2}))))) {
        return false;
      }
    } while (take(','));
    --depth_;
    return take('}');
  }

  /** The position, for views over several calls. */
  [[nodiscard]] const char* position() const { return at_; }

 private:
  [[nodiscard]] bool pass_string();
  [[nodiscard]] bool pass_escape();
  [[nodiscard]] bool pass_character();
  [[nodiscard]] bool pass_number();
  [[nodiscard]] bool pass_literal(std::string_view word);
  [[nodiscard]] bool pass_digits();
  [[nodiscard]] bool pass_scalar();
  [[nodiscard]] bool pass_key();

  const char* at_;
  const char* end_;
  std::size_t depth_ = 0;
};

}  // namespace hal::jsonrpc
