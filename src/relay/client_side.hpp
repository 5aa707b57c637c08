#pragma once

#include "relay/in_flight.hpp"
#include "relay/line_scanner.hpp"
#include "relay/wishes.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace hal::relay {

/** The handshake, and a line that was cut by a lost connection, can be sent again up to this size. */
inline constexpr std::size_t max_kept_line_bytes = std::size_t{256} << 10;
/** A longer request is not sent again; lists and pings are short. */
inline constexpr std::size_t max_repeated_bytes = 1024;
/** Bytes waiting in one direction before its source is no longer read. */
inline constexpr std::size_t buffer_bytes = std::size_t{256} << 10;

/** Memory that a direction may keep while nothing passes; a relay waits most of its life. */
inline constexpr std::size_t kept_capacity = std::size_t{16} << 10;

/**
 * What goes from the client to the gateway: bytes as they came, and what must be known of them when a connection is
 * lost: which requests the gateway has, the handshake, and where in a line it was. Pure.
 */
class ClientSide {
 public:
  /** Whether it takes more bytes now. */
  [[nodiscard]] bool wants() const { return buffer_.size() - begin_ < buffer_bytes; }
  void append(std::string_view bytes);

  /** The bytes to send next; empty when nothing waits. */
  [[nodiscard]] std::string_view next();
  /** So many of next() have been sent. */
  void sent(std::size_t count);
  [[nodiscard]] bool empty() const { return begin_ == buffer_.size(); }

  /**
   * The connection is gone. A line sent in part is sent again from its beginning; one too long to have been kept is
   * dropped up to its end. Requests in flight are answered into `answers` with an error, but for an initialize and
   * what repeats() has, which the caller sends again.
   */
  void connection_lost(std::string& answers);
  /** Answers that became due since, to requests whose lines were dropped. */
  [[nodiscard]] std::string take_answers();
  /** The gateway has answered, with this response. */
  void answered(const Line& response);
  /** What a new session has to be told after the handshake. */
  [[nodiscard]] const Wishes& wishes() const { return wishes_; }

  /** Requests in flight that change nothing and may be sent again: pings and lists. */
  [[nodiscard]] std::string repeats() const { return in_flight_.lines(); }

  /** The client's lines, with their newlines; empty when not seen, or not kept. */
  [[nodiscard]] const std::string& initialize() const { return initialize_; }
  [[nodiscard]] const std::string& initialized() const { return initialized_; }
  [[nodiscard]] const std::string& initialize_id() const { return initialize_id_; }
  [[nodiscard]] bool initialize_in_flight() const {
    return !initialize_id_.empty() && in_flight_.contains(initialize_id_);
  }
  /** A handshake that was too long to keep: after a lost connection the session cannot go on. */
  [[nodiscard]] bool handshake_lost() const { return handshake_lost_; }
  [[nodiscard]] bool idle() const { return in_flight_.empty(); }

  /** Whether large lines have left more memory behind than should be kept for long; give_back() frees it. */
  [[nodiscard]] bool holds_much() const;
  void give_back();

 private:
  void drop_rest_of_line();
  void line_sent(std::string_view end_of_line);

  std::string buffer_;
  std::size_t begin_ = 0;
  LineScanner scanner_;  ///< Has passed what was sent.
  std::string partial_;  ///< The sent part of an unfinished line, unless that is longer than max_kept_line_bytes.
  bool dropping_ = false;
  InFlight in_flight_;
  Wishes wishes_;
  std::string answers_;
  std::string initialize_;
  std::string initialize_id_;
  std::string initialized_;
  bool handshake_lost_ = false;
};

/** The answer to a request whose fate a lost connection hides, with its newline. */
[[nodiscard]] std::string lost_answer(std::string_view id);

}  // namespace hal::relay
