#pragma once

#include "process/child.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

/** Whether a worker that came to an end, or to nothing, is made anew. Pure. */
namespace hal::worker {

/** How a worker came to be of no use, as engine and init tell it. */
struct End {
  /** Its owner asked for it: stop, kill, remove. */
  bool wanted = false;
  /** How the command ended, where its init could tell. */
  std::optional<process::ExitStatus> command;
  /** What the engine says of the container; unset: it is gone, or runs and is not well. */
  std::optional<int> container_code;
  /** Signals its owner sent to the command. */
  std::set<int> sent = {};
};

/**
 * Whether nobody wanted it. A command that ends by itself has ended, whatever its exit code; so has one that was asked
 * to end by a signal that asks (HUP, INT, PIPE, TERM), or by one its owner sent. All others are failures: another
 * signal (also of the kernel, for memory), a container killed or removed behind our back, an init that does not answer.
 */
[[nodiscard]] bool is_failure(const End& end);

enum class Remedy { none, replace, give_up };

struct HealthDecision {
  Remedy remedy = Remedy::none;
  /** Until the replacement. */
  std::chrono::milliseconds delay{0};

  friend bool operator==(const HealthDecision&, const HealthDecision&) = default;
};

/** So many replacements of one worker within so long: the first at once, then after 1 s, 2 s, 4 s. */
inline constexpr std::size_t replacements_at_most = 4;
inline constexpr std::chrono::minutes replacements_within{10};

/** `replaced`: when it was made anew before, at least for as long as that counts. */
[[nodiscard]] HealthDecision health_policy(const End& end, bool may_replace,
                                           const std::vector<std::chrono::steady_clock::time_point>& replaced,
                                           std::chrono::steady_clock::time_point now);

/**
 * What the record keeps of `replaced`: times of the calendar, microseconds since the epoch. The daemon itself counts by
 * the clock nobody can set, which means nothing to the next daemon.
 */
[[nodiscard]] std::vector<std::uint64_t> kept_replacements(
    const std::vector<std::chrono::steady_clock::time_point>& replaced, std::chrono::steady_clock::time_point now,
    std::uint64_t now_usec);
/** Back from the record, those that still count. One from the future, for the clock was set back, counts as just now.
 */
[[nodiscard]] std::vector<std::chrono::steady_clock::time_point> taken_up_replacements(
    const std::vector<std::uint64_t>& kept, std::chrono::steady_clock::time_point now, std::uint64_t now_usec);

}  // namespace hal::worker
