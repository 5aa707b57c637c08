#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <string>
#include <string_view>
#include <vector>

/** A text and any number of descriptors as one descriptor: what a service manager has to keep is one thing then. */
namespace hal::link {

struct Parcel {
  std::string text;
  std::vector<UniqueFd> descriptors;
};

/** A text of a parcel may be so long. */
inline constexpr std::size_t parcel_bytes = std::size_t{256} << 20;

/**
 * The reading end of a socket in which all of it waits; when that is closed unread, so are the copies of the
 * descriptors in it. Those given stay open.
 */
[[nodiscard]] Result<UniqueFd> pack(std::string_view text, const std::vector<int>& descriptors);
/** Errc::protocol for what pack() has not made. */
[[nodiscard]] Result<Parcel> unpack(UniqueFd packed);

}  // namespace hal::link
