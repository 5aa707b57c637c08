#include "metrics/exposition.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace hal::metrics {

namespace {

constexpr double usec_per_second = 1e6;

std::string_view word(Exposition::Type type) {
  switch (type) {
    case Exposition::Type::gauge:
      return "gauge";
    case Exposition::Type::counter:
      return "counter";
    case Exposition::Type::histogram:
      return "histogram";
    case Exposition::Type::info:
      return "info";
    case Exposition::Type::stateset:
      return "stateset";
  }
  return "unknown";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char character : text) {
    if (character == '\n') {
      out += "\\n";
      continue;
    }
    if (character == '\\' || character == '"') {
      out += '\\';
    }
    out += character;
  }
  return out;
}

}  // namespace

void Exposition::family(std::string_view name, Type type, std::string_view help, std::string_view unit) {
  name_ = name;
  suffix_ = type == Type::counter ? "_total" : type == Type::info ? "_info" : "";
  auto out = std::back_inserter(text_);
  fmt::format_to(out, "# TYPE {} {}\n", name, word(type));
  if (!unit.empty()) {
    fmt::format_to(out, "# UNIT {} {}\n", name, unit);
  }
  fmt::format_to(out, "# HELP {} {}\n", name, escaped(help));
}

void Exposition::line(std::string_view suffix, const Labels& labels, std::string_view value) {
  text_ += name_;
  text_ += suffix;
  char before = '{';
  for (const auto& [name, text] : labels) {
    fmt::format_to(std::back_inserter(text_), "{}{}=\"{}\"", before, name, escaped(text));
    before = ',';
  }
  if (!labels.empty()) {
    text_ += '}';
  }
  text_ += ' ';
  text_ += value;
  text_ += '\n';
}

void Exposition::sample(const Labels& labels, double value) {
  line(suffix_, labels, fmt::format("{}", value));
}

void Exposition::sample(const Labels& labels, std::uint64_t value) {
  line(suffix_, labels, fmt::to_string(value));
}

void Exposition::info(const Labels& labels) {
  line(suffix_, labels, "1");
}

void Exposition::states(const Labels& labels, const std::vector<std::string_view>& states, std::string_view now) {
  if (std::find(states.begin(), states.end(), now) == states.end()) {
    return;
  }
  for (const auto state : states) {
    auto all = labels;
    all.emplace_back(name_, state);
    line({}, all, state == now ? "1" : "0");
  }
}

void Exposition::histogram(const Labels& labels, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& buckets) {
  std::uint64_t below = 0;
  const auto bucket = [&](std::string_view bound) {
    auto all = labels;
    all.emplace_back("le", bound);
    line("_bucket", all, fmt::to_string(below));
  };
  for (const auto& [bound, count] : buckets) {
    below += count;
    if (bound != UINT64_MAX) {
      bucket(fmt::format("{}", static_cast<double>(bound) / usec_per_second));
    }
  }
  bucket("+Inf");
}

std::string Exposition::finish() {
  text_ += "# EOF\n";
  return std::move(text_);
}

}  // namespace hal::metrics
