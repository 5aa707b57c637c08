#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "claudy/bus.hpp"
#include "claudy/pump.hpp"
#include "event/loop.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hal::claudy {

/** Runs a program of the worker on our standard descriptors, whatever they are, and gives its exit code. */
[[nodiscard]] Result<int> exec_plain(Bus& bus, const std::string& path, const std::vector<std::string>& command,
                                     Options options);

/**
 * A program's three streams joined to ours. Its standard error comes through a pipe of ours and never as our own
 * descriptor: a program in a worker that held our terminal could read what is typed into it.
 */
class ExecStreams {
 public:
  struct Ends {
    /** The socket that is the program's standard input and output. */
    UniqueFd stream;
    /** The reading end of the pipe that is its standard error. */
    UniqueFd errors;
  };

  /** `on_drained` is called once, after program_ended() or by itself when the program has closed both outputs. */
  [[nodiscard]] static Result<std::unique_ptr<ExecStreams>> start(event::Loop& loop, Ends ends,
                                                                  std::function<void()> on_drained);
  /** For start(). */
  ExecStreams(event::Loop& loop, std::vector<Endpoint> endpoints, std::function<void()> on_drained);

  /** What it wrote is in the streams; what others still hold them for is not waited for. */
  void program_ended();

 private:
  void on_output_end(Pump& pump, Pump::End end);

  std::function<void()> on_drained_;
  Pump input_;
  Pump output_;
  Pump errors_;
  bool drained_ = false;
};

}  // namespace hal::claudy
