#include "remote/session.hpp"

#include "jsonrpc/envelope.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <cstdint>

#include <nettle/base64.h>

namespace hal::remote {

namespace {

constexpr std::size_t max_session_id_bytes = 1024;
constexpr std::string_view encoded_prefix = "=?base64?";
constexpr std::string_view encoded_suffix = "?=";

bool is_visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= 0x21 && c <= 0x7e; });
}

/** As a header holds it: visible ASCII and blanks, none at the ends. */
bool fits_header(std::string_view text) {
  return !text.empty() && text.front() != ' ' && text.back() != ' ' &&
         std::ranges::all_of(text, [](char c) { return c >= 0x20 && c <= 0x7e; }) &&
         !(text.starts_with(encoded_prefix) && text.ends_with(encoded_suffix));
}

std::string base64(std::string_view text) {
  std::string result(BASE64_ENCODE_RAW_LENGTH(text.size()), '\0');
  base64_encode_raw(result.data(), text.size(), reinterpret_cast<const std::uint8_t*>(text.data()));
  return result;
}

}  // namespace

bool is_session_id(std::string_view text) {
  return !text.empty() && text.size() <= max_session_id_bytes && is_visible(text);
}

std::string header_value(std::string_view value) {
  if (fits_header(value)) {
    return std::string(value);
  }
  return std::string(encoded_prefix) + base64(value) + std::string(encoded_suffix);
}

std::vector<std::string> session_headers(const Session& session) {
  std::vector<std::string> headers;
  if (!session.id.empty()) {
    headers.push_back("Mcp-Session-Id: " + session.id);
  }
  if (!session.revision.empty()) {
    headers.push_back("MCP-Protocol-Version: " + session.revision);
  }
  return headers;
}

std::vector<std::string> message_headers(const Session& session) {
  auto headers = session_headers(session);
  headers.emplace_back("Content-Type: application/json");
  headers.emplace_back("Accept: application/json, text/event-stream");
  return headers;
}

std::string own_revision(std::string_view params) {
  std::string revision;
  if (!params.empty()) {
    (void)jsonrpc::any_at(params, "/_meta/io.modelcontextprotocol~1protocolVersion", [&revision](std::string_view raw) {
      revision = jsonrpc::unescape(raw);
      return true;
    });
  }
  return is_visible(revision) ? revision : std::string();
}

std::vector<std::string> parameter_headers(const jsonrpc::ToolHeaders& tools, const jsonrpc::Envelope& call) {
  std::vector<std::string> headers;
  for (const auto& [name, raw] : tools.values(call)) {
    const auto value = raw.starts_with('"') ? jsonrpc::unescape(raw) : std::string(raw);
    headers.push_back("Mcp-Param-" + std::string(name) + ": " + header_value(value));
  }
  return headers;
}

std::vector<std::string> stateless_headers(std::string_view revision, std::string_view method, std::string_view name) {
  std::vector<std::string> headers{"Content-Type: application/json", "Accept: application/json, text/event-stream",
                                   "MCP-Protocol-Version: " + std::string(revision),
                                   "Mcp-Method: " + header_value(method)};
  if (!name.empty()) {
    headers.push_back("Mcp-Name: " + header_value(name));
  }
  return headers;
}

}  // namespace hal::remote
