#pragma once

#include "base/result.hpp"
#include "server/config.hpp"

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hal::server {

/**
 * Reads one server's object, which stands at `path`, into `config`, whose name is set. Whether it is enabled; or
 * Errc::invalid_argument with path and problem. What has no effect is added to `notes`.
 */
[[nodiscard]] Result<bool> read_server(const nlohmann::json& object, const std::string& path,
                                       const ConfigOptions& options, ServerConfig& config,
                                       std::vector<std::string>& notes);

}  // namespace hal::server
