#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <span>
#include <string_view>

namespace hal::jsonrpc {

/**
 * A line with some members replaced, as the parts to write one after the other: nothing is copied. The line and the
 * replacements must live until the parts have been written.
 */
class Splice {
 public:
  /** The id and two progress tokens are the most any message needs replaced. */
  static constexpr std::size_t max_replacements = 3;

  explicit Splice(std::string_view line) : parts_{line} {}

  /** `member` is a view into the line; an empty one is ignored. In any order, never overlapping. */
  void replace(std::string_view member, std::string_view replacement) {
    if (member.empty()) {
      return;
    }
    for (std::size_t i = 0; i < count_; i += 2) {  // even parts are the line's own
      const auto part = parts_[i];
      if (member.data() < part.data() || member.data() + member.size() > part.data() + part.size()) {
        continue;
      }
      assert(count_ + 2 <= parts_.size());
      for (std::size_t j = count_; j > i + 1; --j) {
        parts_[j + 1] = parts_[j - 1];
      }
      const auto before = static_cast<std::size_t>(member.data() - part.data());
      parts_[i] = part.substr(0, before);
      parts_[i + 1] = replacement;
      parts_[i + 2] = part.substr(before + member.size());
      count_ += 2;
      return;
    }
    assert(false && "the member is no part of the line");
  }

  [[nodiscard]] std::span<const std::string_view> parts() const { return {parts_.data(), count_}; }

 private:
  std::array<std::string_view, 2 * max_replacements + 1> parts_;
  std::size_t count_ = 1;
};

}  // namespace hal::jsonrpc
