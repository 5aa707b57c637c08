#pragma once

#include "claudy/client.hpp"

#include <nlohmann/json.hpp>

namespace hal::claudy {

/** All objects at one moment, as of ObjectManager. */
struct Snapshot {
  /** Oldest first. */
  nlohmann::json workers = nlohmann::json::array();
  /** By name. */
  nlohmann::json servers = nlohmann::json::array();
  nlohmann::json parent = nlohmann::json::object();
};

/** A member of an object as text; empty where there is none. */
[[nodiscard]] std::string text_of(const nlohmann::json& object, const char* key);
/** A member of an object as a number; 0 where there is none. */
[[nodiscard]] std::uint64_t number_of(const nlohmann::json& object, const char* key);

}  // namespace hal::claudy
