#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

namespace hal::curl {

/** An http or https URL, taken apart by libcurl itself: what is compared here is what is connected to. */
struct Url {
  std::string text;
  /** "https://host:port", the port always; equal for what is the same server. */
  std::string origin;
  /** "host:port", for people. */
  std::string host;
};

/** Errc::invalid_argument for what is no such URL, or has a user or password in it. Messages do not repeat the URL. */
[[nodiscard]] Result<Url> read_url(std::string_view text);

/** What `reference` means on a page at `base`. */
[[nodiscard]] Result<Url> resolve(const Url& base, std::string_view reference);

}  // namespace hal::curl
