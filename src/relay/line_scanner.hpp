#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hal::relay {

/** Longer ids and methods exist in no real message; a line with one is passed on but not followed. */
inline constexpr std::size_t max_id_bytes = 512;
inline constexpr std::size_t max_method_bytes = 64;
/** A subscription to a longer URI is not repeated after a lost connection. */
inline constexpr std::size_t max_uri_bytes = 2048;

/** What the relay must know of a JSON-RPC line. Values are raw JSON text; absent ones are empty. */
struct Line {
  std::string id;
  std::string method;      ///< Without its quotes; escapes stay as they were spelled.
  std::string request_id;  ///< params.requestId, of notifications/cancelled.
  std::string uri;         ///< params.uri
  bool has_method = false;
  bool has_outcome = false;  ///< "result" or "error".
  bool has_error = false;    ///< "error".

  [[nodiscard]] bool is_request() const { return has_method && !id.empty(); }
  [[nodiscard]] bool is_response() const { return has_outcome && !has_method && !id.empty(); }
};

/**
 * Follows newline-framed JSON-RPC as it passes in pieces of any size, in constant memory: a line may be 64 MiB. Checks
 * nothing; the gateway and the servers behind it do. Garbage gives an empty or strange Line, never more.
 */
class LineScanner {
 public:
  /** Passes bytes up to the next newline, and it; returns how many. */
  std::size_t pass(std::string_view bytes);

  /** Whether the last pass ended a line; then line() is complete until the next pass. */
  [[nodiscard]] bool at_line_end() const { return at_line_end_; }
  /** Whether a line has begun and not ended. */
  [[nodiscard]] bool in_line() const { return line_bytes_ > 0 && !at_line_end_; }
  /** Bytes of the current line so far, with its newline. */
  [[nodiscard]] std::size_t line_bytes() const { return line_bytes_; }
  [[nodiscard]] const Line& line() const { return line_; }

  /** Forgets the current line. */
  void reset() { *this = LineScanner(); }

 private:
  enum class Member : std::uint8_t { other, id, method, params, request_id, uri };

  void pass_segment(std::string_view bytes);
  std::size_t pass_in_string(std::string_view bytes);
  void structural(char c);
  void open(char c);
  void close();
  void end_value();
  void end_key();
  void keep(std::string_view bytes);

  Line line_;
  std::string key_;
  std::size_t line_bytes_ = 0;
  std::uint32_t depth_ = 0;
  Member member_ = Member::other;  ///< Whose value is being passed.
  bool at_line_end_ = false;
  bool top_is_object_ = false;
  bool in_params_ = false;  ///< Inside the object of the top level's "params".
  bool in_string_ = false;
  bool escaped_ = false;  ///< The next byte of a string stands for itself.
  bool key_next_ = false;
  bool in_key_ = false;
};

}  // namespace hal::relay
