#pragma once

#include "base/archive.hpp"
#include "base/limits.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "io/byte_buffer.hpp"
#include "io/pieces.hpp"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hal::io {

/**
 * Newline-framed text both ways over a socket or a pair of pipes, on the loop.
 *
 * Reading: each line without its "\n" (and without a "\r" before it); blank lines are skipped. A line over the limit
 * is dropped as it comes in and reported; the next line is read as usual. Writing: queued without blocking up to
 * limits::peer_queue_bytes. pause() stops reading, so that a slow consumer slows its producer and nothing is buffered.
 *
 * Lines written, to any channels, while a channel hands on what it has read go out together at the end of that: many
 * messages then cost each peer one system call and one wake-up.
 */
class LineChannel {
 public:
  struct Callbacks {
    /**
     * The view is good until the callback returns; of a large line parts can be kept beyond that without a copy (Loan),
     * as write_line() does. The channel may be destroyed or paused inside.
     */
    std::function<void(std::string_view line)> on_line;
    /** A line of at least this many bytes was dropped. */
    std::function<void(std::size_t bytes)> on_overlong;
    /** Once, after the last line: the peer closed its side (Errc::disconnected) or reading failed. */
    std::function<void(const Error&)> on_closed;
    /** Optional, from the loop: nothing is queued any more; it was written, or the peer takes no more. */
    std::function<void()> on_drained;
    /** Optional, from the loop, once: what write_line() had taken cannot be written, the peer takes no more. */
    std::function<void()> on_broken;
  };

  /** A socket: one descriptor for both directions. */
  LineChannel(event::Loop& loop, UniqueFd socket, std::string name, Callbacks callbacks,
              std::size_t max_line_bytes = limits::mcp_line_bytes);
  /** A pair of pipes: `in` is read, `out` is written. Both are made non-blocking. */
  LineChannel(event::Loop& loop, UniqueFd in, UniqueFd out, std::string name, Callbacks callbacks,
              std::size_t max_line_bytes = limits::mcp_line_bytes);
  ~LineChannel();
  LineChannel(const LineChannel&) = delete;
  LineChannel& operator=(const LineChannel&) = delete;

  /**
   * Queues `line` and a newline. Errc::limit when the peer does not read, Errc::disconnected when it cannot be written
   * to any more; what it has still to say is read nevertheless.
   */
  Result<void> write_line(std::string_view line);
  /** The same for a line made of parts, joined without a copy of the whole. */
  Result<void> write_line(std::span<const std::string_view> parts);
  Result<void> write_line(std::initializer_list<std::string_view> parts);

  void pause();
  void resume();
  [[nodiscard]] bool paused() const noexcept { return paused_; }
  [[nodiscard]] bool open() const noexcept { return open_; }
  [[nodiscard]] std::size_t queued_bytes() const noexcept { return waiting_.size(); }

  /**
   * For a channel of another process with the same ends: what was read and not handed on, and what is not written. Not
   * from inside a callback.
   */
  void save(Saver& archive) const;
  /** The ends that save() has kept; invalid where the archive is broken. */
  [[nodiscard]] static std::pair<UniqueFd, UniqueFd> load_ends(Loader& archive);
  /** Into a fresh channel with these ends. It is not paused, and goes on from the loop. */
  void load(Loader& archive);

  /** Closes the writing side when all that is queued has been written; reading goes on until the peer ends. */
  void finish_writing();

 private:
  /** What a running callback uses; it outlives a channel that is destroyed inside. */
  struct Shared {
    Callbacks callbacks;
    /** Bytes read and not yet delivered. */
    ByteBuffer buffer;
    bool destroyed = false;
  };

  /** Channels with lines written while one hands on; a destroyed one leaves a null behind. */
  struct Gathering {
    bool active = false;
    std::vector<LineChannel*> channels;
  };
  [[nodiscard]] static Gathering& gathering();
  /** Runs `hand_on` and writes what all channels were given meanwhile. This channel may be destroyed inside. */
  template <class HandOn>
  static void gather(HandOn hand_on);
  static void write_gathered();

  void on_ready(std::uint32_t events);
  void on_later();
  void read_some();
  void take(Shared& shared, std::string_view bytes);
  /** False if the channel was paused or destroyed by a callback. */
  bool deliver_lines();
  void deliver(Shared& shared, std::string_view line);
  void drop_overlong();
  void update_events();
  void close(const Error& reason);

  // Writing: line_channel_out.cpp
  bool write_later(std::span<const std::string_view> parts, std::size_t bytes);
  std::size_t write_directly(std::span<const std::string_view> parts);
  void queue(std::span<const std::string_view> parts, std::size_t written);
  void flush();
  /** flush() from the loop, with its callbacks. */
  void flush_and_tell();
  /** After a write that took less than all: true if the next one takes more. */
  bool enlarge_pipe();
  void close_writing();
  [[nodiscard]] int out_fd() const noexcept { return out_ ? out_.get() : in_.get(); }

  UniqueFd in_;
  /** Unset for a socket. */
  UniqueFd out_;
  std::shared_ptr<Shared> shared_;
  std::size_t max_line_bytes_;
  /** So much of the buffer is known to hold no newline. */
  std::size_t scanned_ = 0;
  /** Bytes of an overlong line dropped so far; 0 when none is being dropped. */
  std::size_t dropping_ = 0;
  /** Written and not yet taken by the peer. */
  Pieces waiting_;
  /** Waits in gathering() for its queue to be written. */
  bool gathered_ = false;
  /** The peer took less than all: the loop tells when it takes more. */
  bool blocked_ = false;
  bool in_enlarged_ = false;
  bool out_enlarged_ = false;
  bool open_ = true;
  bool paused_ = false;
  bool finish_when_written_ = false;
  bool write_failed_ = false;
  bool broken_told_ = false;
  std::optional<Error> close_reason_;
  event::Defer later_;
  event::Io in_source_;
  /** Only for a pair of pipes. */
  std::unique_ptr<event::Io> out_source_;
};

}  // namespace hal::io
