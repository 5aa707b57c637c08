#pragma once

#include "base/result.hpp"
#include "server/config.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hal::server {

/** The transport of a remote server by its "type", in any spelling clients have for it; unset for "stdio". */
[[nodiscard]] Result<std::optional<RemoteServer::Transport>> read_transport(std::string_view type);

/** The member that has a remote server's URL, by whatever name; null where there is none. */
[[nodiscard]] const char* url_key(const nlohmann::json& object);

/** Reads what only a remote server has from its object, which stands at `path`, into `remote`. */
[[nodiscard]] Result<void> read_remote(const nlohmann::json& object, const std::string& path,
                                       const std::map<std::string, std::string>& variables, RemoteServer& remote,
                                       std::vector<std::string>& notes);

}  // namespace hal::server
