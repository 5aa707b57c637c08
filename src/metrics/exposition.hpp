#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::metrics {

/** Writes OpenMetrics 1.0 text: families one after the other, each with its samples behind it. Pure. */
class Exposition {
 public:
  using Labels = std::vector<std::pair<std::string_view, std::string_view>>;
  enum class Type { gauge, counter, histogram, info, stateset };

  /** What follows, up to the next one, are its samples. `unit` is the name's last part, or empty. */
  void family(std::string_view name, Type type, std::string_view help, std::string_view unit = {});
  /** Of a gauge or a counter; the suffix that the type wants is added. */
  void sample(const Labels& labels, double value);
  void sample(const Labels& labels, std::uint64_t value);
  void info(const Labels& labels);
  /** One sample a state, of which one holds. Nothing where `now` is none of them. */
  void states(const Labels& labels, const std::vector<std::string_view>& states, std::string_view now);
  /** Upper bounds in microseconds, ascending, and how many were below each and not below the one before. */
  void histogram(const Labels& labels, const std::vector<std::pair<std::uint64_t, std::uint64_t>>& buckets);

  /** The whole text; once. */
  [[nodiscard]] std::string finish();

 private:
  void line(std::string_view suffix, const Labels& labels, std::string_view value);

  std::string text_;
  std::string name_;
  std::string_view suffix_;
};

}  // namespace hal::metrics
