#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "server/config.hpp"

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/** What every launcher gives a server: pipes, an environment and a folder. */
namespace hal::server {

/**
 * Pipes, not sockets: a program may open /dev/stdout again, and each end is closed on its own. All close-on-exec;
 * large, so that neither side waits for the other's every turn.
 */
struct StdioPipes {
  UniqueFd server_in;
  UniqueFd server_out;
  UniqueFd to_server;
  UniqueFd from_server;
};
/** `first_line` waits in the server's stdin before anything else; at most 60 KiB. */
[[nodiscard]] Result<StdioPipes> make_stdio(std::string_view first_line);

/** "NAME=value": PATH, HOME (the state directory), LANG, STATE_DIRECTORY, and what the configuration says. */
[[nodiscard]] std::vector<std::string> environment(const ServerConfig& config);

/** User and primary group. */
using Account = std::pair<uid_t, gid_t>;
/** The account of this name, if there is one and we may become it. */
[[nodiscard]] std::optional<Account> find_account(const std::string& name);

/** Makes the server's folder (0700, of `owner`) and those above it (0755) where missing. */
[[nodiscard]] Result<void> make_state_directory(const std::string& path, const std::optional<Account>& owner);

}  // namespace hal::server
