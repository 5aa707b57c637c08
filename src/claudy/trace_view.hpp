#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace hal::claudy {

/** Lines of Server1.Trace, in pieces as they come, and what is printed for them. */
class TraceView {
 public:
  struct Style {
    /** As they are. */
    bool json = false;
    bool colour = false;
  };
  /** What the last line said. */
  struct End {
    /** "worker-gone", "server-removed" or "stopped". */
    std::string what;
    std::string reason;
  };

  explicit TraceView(Style style) : style_(style) {}

  /** What is to be printed for `bytes`, the beginning of an unfinished line before them included. */
  [[nodiscard]] std::string feed(std::string_view bytes);
  [[nodiscard]] const std::optional<End>& end() const { return end_; }

 private:
  [[nodiscard]] std::string line(std::string_view text);
  [[nodiscard]] std::string message(const nlohmann::json& object) const;

  Style style_;
  std::string rest_;
  std::optional<End> end_;
};

}  // namespace hal::claudy
