#pragma once

#include "base/result.hpp"
#include "server/config.hpp"

#include <string>
#include <string_view>

/**
 * What hal9000-remote is told of the server it stands for. It goes through the pipe that is its stdin, before anything
 * else: not even its own environment and command line show it.
 */
namespace hal::server {

/**
 * A header's value may be "credential:NAME", or a scheme before it ("Bearer credential:NAME"); all others stand for
 * themselves. Errc::invalid_argument for what can be neither.
 */
[[nodiscard]] Result<void> check_header_value(std::string_view value);

/** The first line of stdin, with the credentials as they are now; empty for a server that is a program. */
[[nodiscard]] Result<std::string> first_line(const ServerConfig& config);

}  // namespace hal::server
