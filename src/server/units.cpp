#include "server/units.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace hal::server {

namespace {

/** Beyond any machine, and still exact in a double. */
constexpr double max_value = 4.5e15;

template <std::size_t N>
std::optional<double> with_suffix(std::string_view text,
                                  const std::array<std::pair<std::string_view, double>, N>& units) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  const std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const auto unit = std::find_if(units.begin(), units.end(), [&](const auto& entry) { return entry.first == suffix; });
  if (error != std::errc{} || unit == units.end()) {
    return std::nullopt;
  }
  const double value = number * unit->second;
  return value >= 0 && value <= max_value ? std::optional(value) : std::nullopt;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  constexpr double kib = 1024;
  constexpr std::array<std::pair<std::string_view, double>, 5> units{
      {{"", 1}, {"K", kib}, {"M", kib * kib}, {"G", kib * kib * kib}, {"T", kib * kib * kib * kib}}};
  const auto value = with_suffix(text, units);
  if (!value) {
    return Error{Errc::invalid_argument,
                 fmt::format("'{}' is no size like 268435456, 256M or 1.5G", text::printable(text))};
  }
  return static_cast<std::uint64_t>(*value);
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, double>, 5> units{
      {{"", 1000}, {"s", 1000}, {"ms", 1}, {"min", 60'000}, {"h", 3'600'000}}};
  const auto value = with_suffix(text, units);
  if (!value) {
    return Error{Errc::invalid_argument,
                 fmt::format("'{}' is no time like 5, 500ms, 10s or 2min", text::printable(text))};
  }
  return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(*value));
}

}  // namespace hal::server
