#include "hub/era.hpp"

#include "base/text.hpp"
#include "build_config.hpp"
#include "hub/handshake.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Of a client's text in an error. */
constexpr std::size_t told_bytes = 64;

constexpr std::array<std::string_view, 9> removed_methods = {
    "initialize", "ping",         "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
    "tasks/list", "tasks/result", "tasks/get",        "tasks/cancel"};

/** What the revision calls cacheable: they say for how long, and for whom. */
constexpr std::array<std::string_view, 6> cacheable_methods = {
    "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", "server/discover"};

constexpr std::array<std::string_view, 3> asking_methods = {"tools/call", "prompts/get", "resources/read"};

template <std::size_t count>
bool is_among(const std::array<std::string_view, count>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_object(std::string_view raw) {
  return raw.starts_with('{');
}

std::optional<int> code_of(std::string_view error) {
  const auto raw = jsonrpc::member(error, "code");
  const auto number = text::to_number<std::int32_t>(raw.starts_with('-') ? raw.substr(1) : raw);
  return number ? std::optional(raw.starts_with('-') ? -*number : *number) : std::nullopt;
}

}  // namespace

bool opens_modern(const jsonrpc::Envelope& request) {
  if (request.method() == "server/discover") {
    return true;
  }
  return request.method() == "initialize" ? jsonrpc::unescape(request.meta_protocol_version) == modern_revision
                                          : !request.meta_protocol_version.empty();
}

std::optional<std::string> modern_refusal(const jsonrpc::Envelope& request) {
  const auto refuse = [&](std::string_view what) {
    return jsonrpc::error_response(request.id, jsonrpc::invalid_params,
                                   fmt::format("params._meta: io.modelcontextprotocol/{}", what));
  };
  if (!request.meta_protocol_version.starts_with('"')) {
    return refuse("protocolVersion must be a string");
  }
  if (!is_object(request.meta_client_capabilities)) {
    return refuse("clientCapabilities must be an object");
  }
  if (const auto version = jsonrpc::unescape(request.meta_protocol_version); version != modern_revision) {
    return jsonrpc::error_response(
        request.id, jsonrpc::unsupported_protocol_version,
        fmt::format("protocol version {} is not spoken here", text::printable(version, told_bytes)),
        fmt::format(R"({{"supported":["{}"],"requested":{}}})", modern_revision, request.meta_protocol_version));
  }
  if (!request.meta_log_level.empty() && !log_level_rank(jsonrpc::unescape(request.meta_log_level))) {
    return refuse("logLevel is no log level");
  }
  return std::nullopt;
}

bool is_modern_error(std::string_view error) {
  const auto code = code_of(error);
  return code == jsonrpc::header_mismatch || code == jsonrpc::missing_client_capability ||
         code == jsonrpc::unsupported_protocol_version;
}

bool refuses_legacy(std::string_view error) {
  return is_modern_error(error) || code_of(error) == jsonrpc::method_not_found;
}

std::string discover_params() {
  return fmt::format(
      R"({{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{}","io.modelcontextprotocol/clientInfo":)"
      R"({{"name":"hal9000","version":"{}"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}})",
      modern_revision, build::version);
}

std::string_view server_info_of(std::string_view result) {
  return jsonrpc::member(jsonrpc::member(result, "_meta"), server_info_key);
}

std::string to_discover_result(std::string_view initialize_result, std::string_view server_info) {
  // Tasks are an extension of the modern revision, with other messages.
  const auto capabilities = jsonrpc::without_members(jsonrpc::member(initialize_result, "capabilities"), {"tasks"});
  const auto instructions = jsonrpc::member(initialize_result, "instructions");
  return to_modern_result("server/discover",
                          fmt::format(R"({{"supportedVersions":["{}"],"capabilities":{}{}{}}})", modern_revision,
                                      capabilities, instructions.empty() ? "" : R"(,"instructions":)", instructions),
                          server_info);
}

std::string to_modern_result(std::string_view method, std::string_view result, std::string_view server_info) {
  const auto meta = jsonrpc::member(result, "_meta");
  std::string out(result);
  if (!server_info.empty() && (meta.empty() || is_object(meta)) && jsonrpc::member(meta, server_info_key).empty()) {
    if (!meta.empty()) {
      out = jsonrpc::without_members(result, {"_meta"});
    }
    out = jsonrpc::with_member(out, "_meta", jsonrpc::with_member(meta, server_info_key, server_info));
  }
  if (is_among(cacheable_methods, method)) {
    // What the server does not say nobody may assume: stale at once, and this client's own.
    out = jsonrpc::member(out, "cacheScope").empty() ? jsonrpc::with_member(out, "cacheScope", R"("private")") : out;
    out = jsonrpc::member(out, "ttlMs").empty() ? jsonrpc::with_member(out, "ttlMs", "0") : out;
  }
  return jsonrpc::member(out, "resultType").empty() ? jsonrpc::with_member(out, "resultType", R"("complete")") : out;
}

int to_modern_code(int code) {
  if (code == jsonrpc::resource_not_found) {
    return jsonrpc::invalid_params;
  }
  const bool is_reserved = code <= -32000 && code >= -32099;
  const bool is_modern = code == jsonrpc::header_mismatch || code == jsonrpc::missing_client_capability ||
                         code == jsonrpc::unsupported_protocol_version;
  return is_reserved && !is_modern ? jsonrpc::internal_error : code;
}

std::string to_modern_error(std::string_view error) {
  const auto code = code_of(error);
  if (!code || to_modern_code(*code) == *code) {
    return std::string(error);
  }
  return jsonrpc::with_member(jsonrpc::without_members(error, {"code"}), "code",
                              fmt::format_int(to_modern_code(*code)).c_str());
}

bool is_removed_method(std::string_view method) {
  return is_among(removed_methods, method);
}

bool may_require_input(std::string_view method) {
  return is_among(asking_methods, method);
}

std::string with_meta(std::string_view params, std::string_view key, std::string_view raw) {
  const auto meta = jsonrpc::member(params, "_meta");
  return jsonrpc::with_member(jsonrpc::without_members(params, {"_meta"}), "_meta",
                              jsonrpc::with_member(jsonrpc::without_members(meta, {key}), key, raw));
}

}  // namespace hal::hub
