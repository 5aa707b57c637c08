#pragma once

#include "base/result.hpp"
#include "curl/request.hpp"
#include "engine/endpoint.hpp"
#include "event/sources.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace hal::engine {

/** One request to the engine and how its failure is to be told. */
struct Call {
  std::string method;
  /** Without the version's prefix. */
  std::string target;
  /** JSON; empty for none. */
  std::string body;
  /** What is being tried, for messages: "start container 0123456789ab". */
  std::string what;
  /** What status 409 means here. */
  Errc conflict = Errc::busy;
  /** Beside the deadline that every call has: time the engine is told to take. */
  std::chrono::milliseconds extra_time{0};
};

/** The requests on their way. Destroying it cancels them all; nothing is answered then. */
class Calls {
 public:
  /** Each is a connection and a thread of the engine's. */
  static constexpr std::size_t max_in_flight = 256;

  Calls(event::Loop& loop, curl::Multi& multi, const Options& options);
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  /**
   * Sends `call` with `prefix` before its target. `done` gets answers of status 2xx and 304, all else is an error;
   * Errc::limit when too many are on their way.
   */
  void send(const std::string& prefix, Call call, Done<curl::Response> done);

  [[nodiscard]] bool waiting() const noexcept { return !requests_.empty(); }

  /** Runs `task` in the loop's next turn: for answers that are known already. */
  void later(std::function<void()> task);

 private:
  void run_later();

  curl::Multi& multi_;
  const Options& options_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::unique_ptr<curl::Request>> requests_;
  std::deque<std::function<void()>> later_;
  event::Defer run_later_;
};

}  // namespace hal::engine
