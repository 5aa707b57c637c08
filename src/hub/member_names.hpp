#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/** Names at the aggregated endpoint: a server's name, "__", and a name at that server. Pure, without a document. */
namespace hal::hub {

inline constexpr std::string_view member_separator = "__";

using IsServer = std::function<bool(std::string_view name)>;

/** The server a name belongs to, as a view into it; empty if to none. Of several the one with the longest name. */
[[nodiscard]] std::string_view server_of(std::string_view name, const IsServer& is_server);

struct MemberName {
  std::string server;
  /** The name at that server, as JSON text of a string. */
  std::string raw;
};
/** The same of JSON text of a string; what follows the server's name stays as it was spelled. */
[[nodiscard]] std::optional<MemberName> split_name(std::string_view raw, const IsServer& is_server);

/**
 * `text` with "SERVER__" set before each of the strings, which are views into it, in order; what is no string stays.
 * All else is copied byte for byte.
 */
[[nodiscard]] std::string with_server(std::string_view text, const std::vector<std::string_view>& strings,
                                      std::string_view server);
/** The same for the strings at a pointer (places.hpp) into an object. */
[[nodiscard]] std::string with_server_at(std::string_view object, std::string_view pointer, std::string_view server);

/** One page of a list at a member. */
struct MemberPage {
  /** Of the merged list: JSON texts, parted by commas. */
  std::string elements;
  /** JSON text of nextCursor, empty after the last page. */
  std::string next;
  /** JSON texts of what names each element that is in. */
  std::vector<std::string> names;
};
/**
 * Of a result whose array `key` has elements named by their member `id`. With `prefixed` the names get the server's,
 * and those are left out that would be taken for another server's.
 */
[[nodiscard]] MemberPage read_member_page(std::string_view result, std::string_view key, std::string_view id,
                                          bool prefixed, std::string_view server, const IsServer& is_server);

}  // namespace hal::hub
