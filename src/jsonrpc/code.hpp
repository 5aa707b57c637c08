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
  // Of MCP itself, until revision 2025-11-25 and never after it:
  resource_not_found = -32002,
  url_elicitation_required = -32042,
  // Of MCP itself, from revision 2026-07-28 on. That one keeps all from -32020 to -32099 for itself.
  header_mismatch = -32020,
  missing_client_capability = -32021,
  unsupported_protocol_version = -32022,
};

/** The row of `code` in the table from our outcomes to JSON-RPC; every Errc has one. */
[[nodiscard]] int code_of(Errc code);

}  // namespace hal::jsonrpc
