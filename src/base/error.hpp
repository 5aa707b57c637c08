#pragma once

#include <string>
#include <string_view>

namespace hal {

/**
 * The outcomes a caller can tell apart. Every border of the system has one table from these codes to its own
 * vocabulary (D-Bus names, JSON-RPC codes, exit codes); a new code needs a row in each.
 */
enum class Errc {
  invalid_argument,
  not_found,
  already_exists,
  busy,
  limit,
  denied,
  timed_out,
  cancelled,
  disconnected,
  unavailable,
  protocol,
  internal,
};

inline constexpr Errc all_errcs[] = {
    Errc::invalid_argument, Errc::not_found, Errc::already_exists, Errc::busy,        Errc::limit,    Errc::denied,
    Errc::timed_out,        Errc::cancelled, Errc::disconnected,   Errc::unavailable, Errc::protocol, Errc::internal,
};

/** The code's name in lower_case, for logs. */
[[nodiscard]] std::string_view name(Errc code);

/** An expected failure: what went wrong, on which object, and why. The message is one sentence a user can act on. */
struct Error {
  Errc code;
  std::string message;

  /** The same failure seen from one layer up: "context: message". */
  [[nodiscard]] Error with(std::string_view context) const;
};

/** An Error for a failed system call; the code follows from errno (ENOENT: not_found, EACCES: denied, …). */
[[nodiscard]] Error errno_error(std::string_view what, int errno_value);
[[nodiscard]] Error errno_error(std::string_view what);

/** For a broken world at start-up or a programming error: throws std::system_error. */
[[noreturn]] void throw_errno(std::string_view what);
[[noreturn]] void throw_errno(std::string_view what, int errno_value);

}  // namespace hal
