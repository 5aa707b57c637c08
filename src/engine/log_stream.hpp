#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "curl/request.hpp"
#include "engine/endpoint.hpp"
#include "engine/log_demux.hpp"
#include "event/sources.hpp"
#include "worker/runtime.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace hal::engine {

/**
 * One container's output on its way into a descriptor. Asks first whether the container has a terminal, which decides
 * on the stream's framing (its Content-Type does not, before API 1.42). Never holds more than one piece of it: while
 * the sink is full, the engine is not read.
 */
class LogStream {
 public:
  /** `prefix` as of Connection; or why there is none. `done` may destroy the stream. */
  LogStream(event::Loop& loop, curl::Multi& multi, const Options& options, Result<std::string> prefix, ContainerId id,
            const worker::LogOptions& log, UniqueFd sink, Done<void> done);
  ~LogStream();
  LogStream(const LogStream&) = delete;
  LogStream& operator=(const LogStream&) = delete;

 private:
  Result<void> take_sink(UniqueFd sink);
  void inspect();
  void on_inspect(const Result<curl::Response>& response);
  void stream();
  void on_stream_end(const Result<curl::Response>& response);
  [[nodiscard]] std::string target() const;
  [[nodiscard]] std::string what() const;

  std::size_t take(std::string_view bytes);
  std::size_t take_frames(std::string_view bytes);
  /** How many bytes went into the sink; fewer than all: it is full, or it was closed and this has finished. */
  std::size_t write(std::string_view bytes);
  void on_sink(std::uint32_t events);
  /** With what finish_later() was told, if it was: that came first. */
  void finish(Result<void> result);
  /** For the end that is found while the stream delivers. */
  void finish_later(Result<void> result);

  event::Loop& loop_;
  curl::Multi& multi_;
  const Options& options_;
  std::string prefix_;
  ContainerId id_;
  worker::LogOptions log_;
  Done<void> done_;
  bool terminal_ = false;
  LogDemux demux_;
  std::optional<Result<void>> result_;
  UniqueFd sink_;
  std::unique_ptr<event::Io> sink_source_;
  event::Defer finish_;
  std::unique_ptr<curl::Request> request_;
};

}  // namespace hal::engine
