#pragma once

#include "claudy/import_reader.hpp"

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace hal::claudy {

/** One server's object, whatever it is. */
[[nodiscard]] ImportedServer read_import_entry(const std::string& name, const nlohmann::json& object,
                                               const ImportContext& context);

}  // namespace hal::claudy
