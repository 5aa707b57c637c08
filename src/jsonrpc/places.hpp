#pragma once

#include <functional>
#include <initializer_list>
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
/** The object's member, the last one where the key stands twice; empty for none, and for what is no object. */
[[nodiscard]] std::string_view member(std::string_view object, std::string_view key);
/** Calls for each member of the object, with the key as it reads without escapes. */
void each_member_of(std::string_view object, const std::function<void(std::string_view key, std::string_view raw)>& on);
/** The object with this member in front; an empty `object` counts as {}. It must not have one of this name. */
[[nodiscard]] std::string with_member(std::string_view object, std::string_view key, std::string_view raw);
/** The object without the members of these names. Values stay as they are, and keys but for needless escapes. */
[[nodiscard]] std::string without_members(std::string_view object, std::initializer_list<std::string_view> keys);

/** Whether an element of the array matches. */
[[nodiscard]] bool any_element(std::string_view array, const Matches& matches);

/**
 * The object without those elements of its array `key` whose string member "name" `drop` says yes to; all else stays as
 * it is, byte for byte. Nothing if all stay.
 */
[[nodiscard]] std::optional<std::string> without_named(std::string_view object, std::string_view key,
                                                       const std::function<bool(std::string_view name)>& drop);

}  // namespace hal::jsonrpc
