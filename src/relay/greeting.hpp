#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

/** The first line each way between the relay and the gateway. Pure. */
namespace hal::relay {

inline constexpr std::size_t max_greeting_bytes = std::size_t{64} << 10;

/** {"hal9000":1,"server":NAME}, with "resume" if `session` is not empty, and its newline. */
[[nodiscard]] std::string opening_line(std::string_view server, std::string_view session);

/** One of the two is set. */
struct Answer {
  std::string session;
  std::string error;
};

/** The gateway's answer; nothing if it is none. */
[[nodiscard]] std::optional<Answer> parse_answer(std::string_view line);

}  // namespace hal::relay
