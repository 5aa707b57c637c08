#include "bus/option_reader.hpp"

#include "base/text.hpp"

#include <fmt/format.h>

namespace hal::bus {

std::string signature(const Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, OtherValue>) {
          return held.signature;
        } else {
          return std::string(signature_of<T>());
        }
      },
      value);
}

void OptionReader::refuse(std::string_view key, std::string_view what, Errc code) {
  refuse(Error{code, fmt::format("option \"{}\" must be {}", key, what)});
}

void OptionReader::refuse(const Error& error) {
  if (!error_) {
    error_ = error;
  }
}

void OptionReader::wrong_type(std::string_view key, std::string_view expected, const Value& value) {
  refuse(key, fmt::format("of type \"{}\", not \"{}\"", expected, text::printable(signature(value), 64)));
}

Result<void> OptionReader::finish() {
  if (!error_ && !values_.empty()) {
    error_ = Error{Errc::invalid_argument,
                   fmt::format("there is no option \"{}\" here", text::printable(values_.begin()->first, 64))};
  }
  if (error_) {
    return *error_;
  }
  return {};
}

}  // namespace hal::bus
