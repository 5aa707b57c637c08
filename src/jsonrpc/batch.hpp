#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

/** JSON-RPC batches, which the revision 2025-03-26 of the protocol has, and no other. */
namespace hal::jsonrpc {

/** Messages one batch may have. */
inline constexpr std::size_t max_batch_messages = 256;

/**
 * The elements of a batch, as views into the line, each one JSON value. Nothing where the line is no JSON array, or has
 * more than max_batch_messages elements. An empty array has none.
 */
[[nodiscard]] std::optional<std::vector<std::string_view>> split_batch(std::string_view line);

}  // namespace hal::jsonrpc
