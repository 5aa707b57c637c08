#pragma once

#include "curl/url.hpp"
#include "jsonrpc/tool_headers.hpp"

#include <string>
#include <string_view>
#include <vector>

/** What MCP over HTTP puts into headers. Pure. */
namespace hal::remote {

/** What the server knows us by. */
struct Session {
  /** Where messages are sent to: the server's URL; of the old transport the one that the server has named. */
  curl::Url messages;
  /** Empty: the server keeps none. */
  std::string id;
  /** The revision both sides have agreed on; empty before that. */
  std::string revision;
};

/** One that may go into a header: visible ASCII, not too long. */
[[nodiscard]] bool is_session_id(std::string_view text);

/** `value` as it stands, or in the encoding for what a header cannot hold. */
[[nodiscard]] std::string header_value(std::string_view value);

/** The headers of a session, for every request in it. */
[[nodiscard]] std::vector<std::string> session_headers(const Session& session);
/** And those of a POST of a message. */
[[nodiscard]] std::vector<std::string> message_headers(const Session& session);

/** The revision that a message names itself, which those of 2026-07-28 and later do; empty for all others. */
[[nodiscard]] std::string own_revision(std::string_view params);
/** The arguments of a tools/call that its tool's schema wants in headers of their own. */
[[nodiscard]] std::vector<std::string> parameter_headers(const jsonrpc::ToolHeaders& tools,
                                                         const jsonrpc::Envelope& call);
/** The headers of a POST of such a request, which has no session. `name` is its params.name or params.uri. */
[[nodiscard]] std::vector<std::string> stateless_headers(std::string_view revision, std::string_view method,
                                                         std::string_view name);

}  // namespace hal::remote
