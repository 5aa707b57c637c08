#pragma once

#include "base/result.hpp"
#include "claudy/bus.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

/** What verbs ask of the daemon: objects and their properties, as JSON with the keys claudy prints. */
namespace hal::claudy {

inline constexpr std::string_view manager_interface = "org.hal9000.Manager1";
inline constexpr std::string_view worker_interface = "org.hal9000.Worker1";
inline constexpr std::string_view server_interface = "org.hal9000.Server1";
inline constexpr std::string_view parent_interface = "org.hal9000.Parent1";
inline constexpr std::string_view pool_interface = "org.hal9000.Pool1";
inline constexpr std::string_view job_interface = "org.hal9000.Job1";

[[nodiscard]] Method manager_method(std::string member);
[[nodiscard]] Method worker_method(const std::string& path, std::string member);
[[nodiscard]] Method parent_method(std::string member);
[[nodiscard]] Method pool_method(std::string member);
/** `name` need not exist. */
[[nodiscard]] Method server_method(std::string_view name, std::string member);

/** Properties with keys as printed, see snake_case(). */
[[nodiscard]] nlohmann::json printed_keys(const nlohmann::json& properties);

/** The path of a worker by id or name. */
[[nodiscard]] Result<std::string> find_worker(Bus& bus, const std::string& id_or_name);

/** All properties of an object's interface, with printed keys. */
[[nodiscard]] Result<nlohmann::json> properties(Bus& bus, const std::string& path, std::string_view interface);
[[nodiscard]] Result<nlohmann::json> server_properties(Bus& bus, std::string_view name);

/**
 * All objects at one moment, with printed keys: "workers", an array, oldest first, each with its "path" as well;
 * "servers", an array by name; "parent" and "pool", objects.
 */
[[nodiscard]] Result<nlohmann::json> snapshot(Bus& bus);
/** The same of what GetManagedObjects has answered. */
[[nodiscard]] nlohmann::json snapshot_of(const nlohmann::json& managed_objects);

/** A member of an object as text; empty where there is none. */
[[nodiscard]] std::string text_of(const nlohmann::json& object, const char* key);
/** A member of an object as a number; 0 where there is none. */
[[nodiscard]] std::uint64_t number_of(const nlohmann::json& object, const char* key);

}  // namespace hal::claudy
