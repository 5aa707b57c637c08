#pragma once

#include "base/result.hpp"
#include "claudy/bus.hpp"

#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace hal::claudy {

/** How a listing is shown. */
struct ListOptions {
  bool json = false;
  /** Again after each change, until a signal or the daemon ends it. */
  bool watch = false;
};

/** Writes to standard output; fails where it is closed or full. */
[[nodiscard]] Result<void> print(std::string_view text);

/** A sentence on standard error, after "claudy: ". */
void say(std::string_view sentence);

/** One listing: the data and the same as a table. Both see the daemon at one moment. */
struct Listing {
  std::function<Result<nlohmann::json>(Bus&)> read;
  std::function<std::string(const nlohmann::json&)> table;
};

/**
 * Prints the listing, once, or with `watch` again whenever a signal of the daemon says that something changed. JSON is
 * one document; of a watch, one line each.
 */
[[nodiscard]] Result<int> show_listing(Bus& bus, const ListOptions& options, const Listing& listing);

}  // namespace hal::claudy
