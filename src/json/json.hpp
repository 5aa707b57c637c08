#pragma once

#include "base/limits.hpp"
#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

/**
 * The only door to nlohmann's parser and serialiser. Its own parse() has no limits, its dump() throws on bad UTF-8 and
 * recurses without end, and its accessors throw; these do not.
 */
namespace hal::json {

struct Limits {
  std::size_t bytes = std::size_t{16} << 20;
  std::size_t depth = limits::json_depth;
  std::size_t values = limits::json_values;
};

/**
 * One JSON document. Errc::protocol for what is no JSON (with line and column) or has a key twice in one object,
 * Errc::limit for what exceeds `limits`.
 */
[[nodiscard]] Result<nlohmann::json> parse(std::string_view text, const Limits& limits = {});

/**
 * JSON text, on one line or indented by two blanks. Bad UTF-8 becomes U+FFFD; what is nested deeper than
 * limits::json_depth becomes null. Never throws but for memory.
 */
[[nodiscard]] std::string dump(const nlohmann::json& value);
[[nodiscard]] std::string dump_pretty(const nlohmann::json& value);

/**
 * Typed readers. `where` is the path of `object` in its document; errors (Errc::protocol) begin with the full path of
 * the member: "servers.memory.args[2]: must be a string". An object that is none is an error as well.
 */
[[nodiscard]] Result<std::string> string_at(const nlohmann::json& object, std::string_view key,
                                            std::string_view where = {});
[[nodiscard]] Result<std::uint64_t> unsigned_at(const nlohmann::json& object, std::string_view key,
                                                std::string_view where = {});
[[nodiscard]] Result<std::int64_t> integer_at(const nlohmann::json& object, std::string_view key,
                                              std::string_view where = {});
[[nodiscard]] Result<double> number_at(const nlohmann::json& object, std::string_view key, std::string_view where = {});
[[nodiscard]] Result<bool> bool_at(const nlohmann::json& object, std::string_view key, std::string_view where = {});
[[nodiscard]] Result<std::vector<std::string>> strings_at(const nlohmann::json& object, std::string_view key,
                                                          std::string_view where = {});
/** The member itself, which lives as long as `object`. */
[[nodiscard]] Result<const nlohmann::json*> object_at(const nlohmann::json& object, std::string_view key,
                                                      std::string_view where = {});
[[nodiscard]] Result<const nlohmann::json*> array_at(const nlohmann::json& object, std::string_view key,
                                                     std::string_view where = {});

/** The same for members that may be absent (null counts as absent); a wrong type is an error still. */
[[nodiscard]] Result<std::optional<std::string>> optional_string_at(const nlohmann::json& object, std::string_view key,
                                                                    std::string_view where = {});
[[nodiscard]] Result<std::optional<std::uint64_t>> optional_unsigned_at(const nlohmann::json& object,
                                                                        std::string_view key,
                                                                        std::string_view where = {});
[[nodiscard]] Result<std::optional<std::int64_t>> optional_integer_at(const nlohmann::json& object,
                                                                      std::string_view key,
                                                                      std::string_view where = {});
[[nodiscard]] Result<std::optional<double>> optional_number_at(const nlohmann::json& object, std::string_view key,
                                                               std::string_view where = {});
[[nodiscard]] Result<std::optional<bool>> optional_bool_at(const nlohmann::json& object, std::string_view key,
                                                           std::string_view where = {});
/** Empty when absent. */
[[nodiscard]] Result<std::vector<std::string>> optional_strings_at(const nlohmann::json& object, std::string_view key,
                                                                   std::string_view where = {});
/** Null when absent. */
[[nodiscard]] Result<const nlohmann::json*> optional_object_at(const nlohmann::json& object, std::string_view key,
                                                               std::string_view where = {});
[[nodiscard]] Result<const nlohmann::json*> optional_array_at(const nlohmann::json& object, std::string_view key,
                                                              std::string_view where = {});

/** The member, or null when absent. Any type. */
[[nodiscard]] const nlohmann::json* find(const nlohmann::json& object, std::string_view key);

/** An error naming the first member of `object` that is not among `keys`. */
[[nodiscard]] Result<void> only_keys(const nlohmann::json& object, std::initializer_list<std::string_view> keys,
                                     std::string_view where = {});

}  // namespace hal::json
