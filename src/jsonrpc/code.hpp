#pragma once

#include "base/error.hpp"

namespace hal::jsonrpc {

/** Codes of JSON-RPC 2.0, and those the MCP SDKs give a meaning. */
enum Code {
  parse_error = -32700,
  invalid_request = -32600,
  method_not_found = -32601,
  invalid_params = -32602,
  internal_error = -32603,
  /** In the MCP SDKs: ConnectionClosed. */
  connection_closed = -32000,
  /** In the MCP SDKs: RequestTimeout. */
  request_timeout = -32001,
  /** In MCP: of resources/read. */
  resource_not_found = -32002,
};

/** The row of `code` in the table from our outcomes to JSON-RPC; every Errc has one. */
[[nodiscard]] int code_of(Errc code);

}  // namespace hal::jsonrpc
