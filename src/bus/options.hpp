#pragma once

#include "base/result.hpp"
#include "bus/backend.hpp"
#include "bus/value.hpp"
#include "worker/pool.hpp"
#include "worker/runtime.hpp"
#include "worker/worker.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/**
 * What callers ask for, read strictly: an unknown key, a wrong type or a value out of bounds is Errc::invalid_argument
 * (too much of something: Errc::limit) with a sentence that names the key and what it must be.
 */
namespace hal::bus {

/** Bytes of a command line and its environment together: they travel to the worker in one datagram. */
inline constexpr std::size_t max_command_bytes = std::size_t{64} << 10;
inline constexpr std::size_t max_send_bytes = std::size_t{64} << 10;
inline constexpr std::uint32_t max_capture_lines = 10'000;
inline constexpr std::uint32_t max_stop_timeout_ms = 600'000;
inline constexpr std::uint32_t default_stop_timeout_ms = 10'000;
/** The least a container engine takes. */
inline constexpr std::uint64_t min_memory_bytes = std::uint64_t{6} << 20;

struct AttachOptions {
  worker::TerminalSize size;
  std::string term = "xterm-256color";
};

/** Without owner and place. */
[[nodiscard]] Result<worker::SpawnRequest> read_spawn_options(Values values);
/** The same for what must be a claim and need not say so. */
[[nodiscard]] Result<worker::SpawnRequest> read_claim_options(Values values);
/** At least one setting; whether they fit together is the pool's to say. */
[[nodiscard]] Result<worker::Pool::Change> read_pool_settings(Values values);
[[nodiscard]] Result<AttachOptions> read_attach_options(Values values);
[[nodiscard]] Result<worker::ExecRequest> read_exec_options(std::vector<std::string> argv, Values values);
[[nodiscard]] Result<worker::LogOptions> read_log_options(Values values);
/** Without reader. */
[[nodiscard]] Result<TraceRequest> read_trace_options(Values values);
/** At least one limit. */
[[nodiscard]] Result<worker::LimitChange> read_limits(Values values);

/** An absolute path. */
[[nodiscard]] Result<std::string> read_path(std::string_view what, std::string path);
[[nodiscard]] Result<worker::TerminalSize> read_size(std::uint16_t rows, std::uint16_t columns);
/** "TERM", "SIGTERM" and "15" are all SIGTERM; real-time signals only by number. */
[[nodiscard]] Result<int> read_signal(std::string_view text);
/** 0 is the default. */
[[nodiscard]] Result<std::chrono::milliseconds> read_stop_timeout(std::uint32_t milliseconds);
/** Errc::not_found for what no exec was ever called. */
[[nodiscard]] Result<ExecId> read_exec_id(std::string_view text);

}  // namespace hal::bus
