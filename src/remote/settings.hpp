#pragma once

#include "base/result.hpp"
#include "curl/url.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

/**
 * hal9000-remote: an MCP server elsewhere, spoken to over HTTP, as a program with newline-framed JSON-RPC on its stdin
 * and stdout. So it is to the rest of the system what every other MCP server is.
 */
namespace hal::remote {

/** http: Streamable HTTP. sse: the two endpoints of revision 2024-11-05. */
enum class Transport { http, sse };

struct Settings {
  curl::Url url;
  Transport transport = Transport::http;
  /** "Name: value"; secrets among them. */
  std::vector<std::string> headers;
  /** How long a request may wait for its answer to begin, and then for the next piece of it. */
  std::chrono::milliseconds timeout{600'000};
  std::string proxy;
  /** Certificates to trust; empty: the system's. */
  std::string ca_file;
};

/**
 * Reads the first line of stdin, which is how the daemon hands over what nobody else may see:
 * {"url":…,"transport":"http"|"sse","headers":{…},"timeout_ms":…,"proxy":…}. Errors never repeat a value.
 */
[[nodiscard]] Result<Settings> read_settings(std::string_view line);

}  // namespace hal::remote
