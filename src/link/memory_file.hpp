#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <cstddef>
#include <string>
#include <string_view>

/** Texts too large for a datagram, as sealed anonymous files: the reader's copy cannot change under it. */
namespace hal::link {

/** The whole datagram where its JSON text is in the memory file that is the last descriptor. */
inline constexpr std::string_view in_memory_file = "@";
/** JSON text in the datagram itself, at most. */
inline constexpr std::size_t inline_bytes = std::size_t{64} << 10;

[[nodiscard]] Result<UniqueFd> to_memory_file(std::string_view text);

/** Errc::protocol for a file that is not sealed, Errc::limit for one over `max_bytes`. */
[[nodiscard]] Result<std::string> from_memory_file(const UniqueFd& fd, std::size_t max_bytes);

}  // namespace hal::link
