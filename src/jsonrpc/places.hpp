#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

/** Places inside of JSON text that scan() has checked, without a document. Raw values have no blanks around them. */
namespace hal::jsonrpc {

using Matches = std::function<bool(std::string_view raw)>;

/**
 * Whether a value at the pointer (RFC 6901) matches. Where a key stands twice both values are looked at, for peers do
 * not agree on which one counts.
 */
[[nodiscard]] bool any_at(std::string_view json, std::string_view pointer, const Matches& matches);
/** Whether an element of the array matches. */
[[nodiscard]] bool any_element(std::string_view array, const Matches& matches);

/**
 * The object without those elements of its array `key` whose string member "name" `drop` says yes to; all else stays as
 * it is, byte for byte. Nothing if all stay.
 */
[[nodiscard]] std::optional<std::string> without_named(std::string_view object, std::string_view key,
                                                       const std::function<bool(std::string_view name)>& drop);

}  // namespace hal::jsonrpc
