#pragma once

#include "http/rules.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/tool_headers.hpp"

#include <optional>
#include <string>
#include <string_view>

/** What revision 2026-07-28 demands of headers: they say again what stands in the body. Pure. */
namespace hal::http {

/** The value of Mcp-Name or Mcp-Param-*: as it stands, or "=?base64?…?=". Nothing for a broken encoding. */
[[nodiscard]] std::optional<std::string> decode_header_value(std::string_view value);

/** What of a request's headers contradicts its body, as a sentence. Not of tools' parameters. */
[[nodiscard]] std::optional<std::string> header_mismatch(const Head& head, const jsonrpc::Envelope& request);

/** What of a call's Mcp-Param-* headers contradicts its arguments, as a sentence. */
[[nodiscard]] std::optional<std::string> header_mismatch(const Head& head, const jsonrpc::ToolHeaders& tools,
                                                         const jsonrpc::Envelope& call);

}  // namespace hal::http
