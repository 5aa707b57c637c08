#pragma once

#include "base/error.hpp"
#include "curl/request.hpp"

#include <chrono>
#include <string>
#include <string_view>

namespace hal::engine {

/** How the client talks to the engine. The times are for tests to change. */
struct Options {
  /** Path of the engine's unix socket. */
  std::string socket;
  /** Value of the label org.hal9000.instance that marks what is ours. */
  std::string instance;
  /** Where hal9000.slice is among the control groups, for an engine that asks no systemd for them. */
  std::string slice_path = "/hal9000.slice";

  /** Between attempts to reach an engine that is not there. */
  std::chrono::milliseconds backoff_min{100};
  std::chrono::milliseconds backoff_max{2000};
  /** While calls wait and nothing is heard of the engine, it is asked this often whether it is there. */
  std::chrono::milliseconds heartbeat{10'000};
  /** For an answer that costs the engine nothing. */
  std::chrono::milliseconds ping_deadline{5'000};
  /** For everything else; an engine under load takes seconds to make a container. */
  std::chrono::milliseconds call_deadline{60'000};
};

/** A request to the engine; `target` is path and query. With a connection of its own: none can be stale. */
[[nodiscard]] curl::RequestSpec request_to(const Options& options, std::string method, std::string_view target);

/** A failure of the connection in words that say which socket and what to do about it. The code is unavailable or
 * stays. */
[[nodiscard]] Error connection_error(const Options& options, const Error& error);

}  // namespace hal::engine
