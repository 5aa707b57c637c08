#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace hal::claudy {

/**
 * Finds the keys that detach in what is typed. Bytes that may become the sequence are held back until the next key
 * decides; everything else passes unchanged. Pure.
 *
 * A control key is known in its three spellings: the plain byte, and what terminals send instead once a program asked
 * for extended keys (CSI u, modifyOtherKeys), as tmux in the workers does.
 */
class DetachKeys {
 public:
  /** Ctrl-] and d: neither Claude Code nor the shells and editors in a worker use Ctrl-] followed by d. */
  static constexpr std::string_view default_spec = "ctrl-],d";

  /** Keys separated by commas, each one character or "ctrl-" and one of a-z @ [ \ ] ^ _. "none": nothing detaches. */
  [[nodiscard]] static Result<DetachKeys> parse(std::string_view spec);

  struct Output {
    /** To be passed on. */
    std::string forward;
    /** The sequence is complete; what came after it is dropped. */
    bool detached = false;
  };
  [[nodiscard]] Output feed(std::string_view typed);

  /** For people: "Ctrl-] d". Empty if nothing detaches. */
  [[nodiscard]] std::string describe() const;

 private:
  enum class Match { none, partial, full };
  [[nodiscard]] Match match_at(std::string_view bytes) const;

  /** One byte a key. */
  std::string keys_;
  /** The first keys of a sequence that is not complete yet. */
  std::string held_;
};

}  // namespace hal::claudy
