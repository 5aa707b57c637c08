#pragma once

#include "claudy/endpoint.hpp"
#include "event/sources.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace hal::claudy {

/**
 * Moves bytes from one endpoint to another as they come. Reads only when all it has read is written: what it holds is
 * bounded, and a slow reader slows the writer.
 */
class Pump {
 public:
  enum class End {
    /** The source ended (or a drain found it empty), and all of it was written. */
    source_ended,
    /** The sink takes no more. */
    sink_closed,
  };
  struct Callbacks {
    /** May change what was read before it is written. */
    std::function<void(std::string& chunk)> on_chunk;
    /** Once. The pump does nothing any more; it may be destroyed inside. */
    std::function<void(End end)> on_end;
  };

  Pump(event::Loop& loop, Endpoint source, Endpoint sink, const std::string& name, Callbacks callbacks);
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  /** Moves what the source holds now and ends when it holds nothing more, even if it could get more later. */
  void drain();
  /** Ends without on_end. */
  void stop();

  [[nodiscard]] bool ended() const noexcept { return ended_; }

  /** Once it has ended: whoever writes into the source finds that nobody reads; for sources that are ours alone. */
  void refuse() { source_.finish_reading(); }
  /** Once it has ended: whoever reads from the sink finds its end, if it is a socket. */
  void finish_writing() { sink_.finish_writing(); }

 private:
  void on_source();
  void on_sink(std::uint32_t events);
  void read_some();
  void write_some();
  void wait();
  void finish(End end);

  Endpoint source_;
  Endpoint sink_;
  Callbacks callbacks_;
  std::string buffer_;
  std::size_t written_ = 0;
  bool draining_ = false;
  bool ended_ = false;
  /** The next turn for endpoints that are always ready, and for a drain. */
  event::Defer again_;
  std::optional<event::Io> source_io_;
  std::optional<event::Io> sink_io_;
};

}  // namespace hal::claudy
