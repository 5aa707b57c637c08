#pragma once

#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace hal::server {

/**
 * Reads a server's stderr line by line into our log, with the server's name as field. The server never waits for it:
 * what is longer than a line may be is cut, what comes faster than a log can take is counted and left out.
 */
class StderrLog {
 public:
  StderrLog(event::Loop& loop, UniqueFd fd, std::string server);
  StderrLog(const StderrLog&) = delete;
  StderrLog& operator=(const StderrLog&) = delete;

  /** Reads what is left after the process has ended. */
  void drain();
  /** The last lines, joined by " | "; empty if there were none. */
  [[nodiscard]] std::string last_lines() const;

 private:
  /** False at the end. */
  bool read_some();
  void take(std::string_view bytes);
  void end_line();
  [[nodiscard]] bool may_log();

  event::Loop& loop_;
  UniqueFd fd_;
  std::string server_;
  /** The line so far, and how much of it was cut. */
  std::string line_;
  std::size_t cut_ = 0;
  std::deque<std::string> last_;
  std::chrono::steady_clock::time_point interval_start_{};
  std::size_t lines_in_interval_ = 0;
  std::size_t left_out_ = 0;
  event::Io source_;
};

}  // namespace hal::server
