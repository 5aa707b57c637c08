#include "claudy/text_values.hpp"

#include "base/text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace hal::claudy {

namespace {

struct Quantity {
  double number;
  std::string_view unit;
};

/** A number without sign, and what follows it. */
std::optional<Quantity> split_quantity(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{} || text.front() == '-' || !std::isfinite(number)) {
    return std::nullopt;
  }
  return Quantity{number, text.substr(static_cast<std::size_t>(end - text.data()))};
}

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

char lower(char c) {
  return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

/** Powers of 1024, or nothing. */
std::optional<unsigned> size_exponent(std::string_view unit) {
  if (unit.empty() || unit == "B") {
    return 0;
  }
  constexpr std::string_view letters = "kmgt";
  const auto at = letters.find(lower(unit[0]));
  const auto rest = unit.substr(1);
  if (at == std::string_view::npos || (!rest.empty() && rest != "iB")) {
    return std::nullopt;
  }
  return static_cast<unsigned>(at) + 1;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const Error wrong{Errc::invalid_argument,
                    fmt::format("'{}' is no size: write 512M, 4G or a number of bytes", text::printable(text))};
  const auto quantity = text.empty() ? std::nullopt : split_quantity(text);
  if (!quantity) {
    return wrong;
  }
  const auto exponent = size_exponent(quantity->unit);
  if (!exponent) {
    return wrong;
  }
  const double bytes = std::ldexp(quantity->number, static_cast<int>(*exponent * 10));
  if (bytes >= std::ldexp(1.0, 63)) {
    return wrong;
  }
  return static_cast<std::uint64_t>(bytes);
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, double>, 5> units = {
      {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}}};
  const auto quantity = text.empty() ? std::nullopt : split_quantity(text);
  if (quantity) {
    for (const auto& [unit, milliseconds] : units) {
      const double value = quantity->number * milliseconds;
      // A day: longer than any timeout of the system.
      if (quantity->unit == unit && value <= 8.64e7) {
        return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(value));
      }
    }
  }
  return Error{Errc::invalid_argument, fmt::format("'{}' is no time: write 10s, 500ms or 2m", text::printable(text))};
}

Result<double> parse_cpus(std::string_view text) {
  const auto quantity = text.empty() ? std::nullopt : split_quantity(text);
  if (!quantity || !quantity->unit.empty() || quantity->number <= 0) {
    return Error{Errc::invalid_argument,
                 fmt::format("'{}' is no number of CPUs: write 2 or 0.5", text::printable(text))};
  }
  return quantity->number;
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::string_view units = "BKMGT";
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.1f}{}", value, units[unit]);
}

std::string format_age(std::uint64_t then_usec, std::uint64_t now_usec) {
  if (then_usec == 0) {
    return "-";
  }
  const std::uint64_t seconds = now_usec > then_usec ? (now_usec - then_usec) / 1'000'000 : 0;
  if (seconds < 60) {
    return fmt::format("{}s", seconds);
  }
  if (seconds < 3'600) {
    return fmt::format("{}m", seconds / 60);
  }
  if (seconds < 86'400) {
    return fmt::format("{}h", seconds / 3'600);
  }
  return fmt::format("{}d", seconds / 86'400);
}

std::string snake_case(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool before_lower = i + 1 < name.size() && !is_upper(name[i + 1]);
    // systemd's spelling of times, USec and NSec, is one word.
    const bool in_unit = i > 0 && (name[i - 1] == 'U' || name[i - 1] == 'N') && name.substr(i) == "Sec";
    const bool word_begins = i > 0 && is_upper(name[i]) && (!is_upper(name[i - 1]) || before_lower) && !in_unit;
    if (word_begins || (i > 0 && (name.substr(i) == "USec" || name.substr(i) == "NSec"))) {
      out += '_';
    }
    out += lower(name[i]);
  }
  return out;
}

}  // namespace hal::claudy
