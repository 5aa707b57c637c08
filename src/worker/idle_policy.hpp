#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

/** When a worker has been idle for so long that it is stopped. Pure. */
namespace hal::worker {

/** CPU time a worker had used at a time; microseconds since the epoch, nanoseconds. */
struct CpuSample {
  std::uint64_t at_usec = 0;
  std::uint64_t cpu_nsec = 0;
};

/** Processors, on the average since the last look; Claude Code at its prompt and tmux stay well below. */
inline constexpr double idle_cpu_floor = 0.03;

struct IdleSituation {
  /** Of the profile; 0: never. */
  std::chrono::microseconds timeout{0};
  std::uint64_t now_usec = 0;
  /** Bytes on a terminal, calls of its MCP servers, what was asked over D-Bus. */
  std::uint64_t last_activity_usec = 0;
  std::uint64_t cpu_nsec = 0;
  /** At the last look. */
  CpuSample before;
  /** Frozen by its owner, who wants it so. */
  bool paused = false;
};

struct IdleDecision {
  bool stop = false;
  /** With CPU time counted in. */
  std::uint64_t last_activity_usec = 0;
  /** When it could be due; none without a timeout. */
  std::optional<std::chrono::microseconds> look_again;
};

/** Age is no idleness: what counts is the time since anything was done. */
[[nodiscard]] IdleDecision idle_policy(const IdleSituation& now);

}  // namespace hal::worker
