#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace hal::text {

/** The whole of `text` as a decimal number; nothing for signs it cannot have, blanks, overflow or trailing bytes. */
template <class Number>
[[nodiscard]] std::optional<Number> to_number(std::string_view text) {
  static_assert(std::is_integral_v<Number>);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

/** The parts between `separator`s; at least one, possibly empty. */
[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator);

[[nodiscard]] std::string_view trim(std::string_view text);

/** Whether both are the same but for the case of ASCII letters. */
[[nodiscard]] bool equal_in_any_case(std::string_view one, std::string_view other);

/** `text` for a log or a message to a person: control bytes and bad UTF-8 as \xHH, cut with "…" after `max_bytes`. */
[[nodiscard]] std::string printable(std::string_view text, std::size_t max_bytes = 200);

/** Whether `text` is valid UTF-8 without overlong forms and surrogates. D-Bus refuses anything else. */
[[nodiscard]] bool is_utf8(std::string_view text);

/** `text` with every byte that is not part of valid UTF-8, and NUL, replaced by U+FFFD. */
[[nodiscard]] std::string valid_utf8(std::string_view text);

/** A name of a worker or server: a letter or digit, then letters, digits, '.', '_' and '-', 64 bytes at most. */
[[nodiscard]] bool is_name(std::string_view text);

/** `digits` lower-case hexadecimal digits (an even number) of the kernel's randomness. */
[[nodiscard]] std::string random_hex(std::size_t digits);

/** A random non-zero number of the kernel's randomness. */
[[nodiscard]] std::uint64_t random_u64();

}  // namespace hal::text
