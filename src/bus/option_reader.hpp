#pragma once

#include "base/result.hpp"
#include "bus/value.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace hal::bus {

/** The signature of a type a Value can hold. */
template <class T>
[[nodiscard]] constexpr std::string_view signature_of() {
  if constexpr (std::is_same_v<T, bool>) {
    return "b";
  } else if constexpr (std::is_same_v<T, std::uint16_t>) {
    return "q";
  } else if constexpr (std::is_same_v<T, std::uint32_t>) {
    return "u";
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    return "t";
  } else if constexpr (std::is_same_v<T, double>) {
    return "d";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return "s";
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    return "as";
  } else if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) {
    return "a{ss}";
  } else {
    static_assert(std::is_same_v<T, UniqueFd>);
    return "h";
  }
}

/** Takes options out of a dictionary one by one; keeps the first error, and finds what is left over an error too. */
class OptionReader {
 public:
  explicit OptionReader(Values values) : values_(std::move(values)) {}

  /** Nothing if the key is absent or wrong. */
  template <class T>
  [[nodiscard]] std::optional<T> take(const char* key) {
    auto node = values_.extract(key);
    if (node.empty()) {
      return std::nullopt;
    }
    if (auto* value = std::get_if<T>(&node.mapped())) {
      return std::move(*value);
    }
    wrong_type(key, signature_of<T>(), node.mapped());
    return std::nullopt;
  }

  /** The option `key` must be `what`. */
  void refuse(std::string_view key, std::string_view what, Errc code = Errc::invalid_argument);
  /** Keeps the error of a part. */
  void refuse(const Error& error);

  /** Error: the first refusal, or a key nobody took. */
  [[nodiscard]] Result<void> finish();

 private:
  void wrong_type(std::string_view key, std::string_view expected, const Value& value);

  Values values_;
  std::optional<Error> error_;
};

}  // namespace hal::bus
