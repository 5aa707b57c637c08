#pragma once

#include "jsonrpc/envelope.hpp"

#include <optional>
#include <string>
#include <string_view>

/**
 * The revision 2026-07-28 of the Model Context Protocol and those before it: how they are told apart, and what one says
 * in the other's words. "Modern" here is that revision, "legacy" are those that begin with `initialize`. Pure.
 */
namespace hal::hub {

inline constexpr std::string_view modern_revision = "2026-07-28";

/** Whether a client whose first request is this one speaks the modern revision, or means to. */
[[nodiscard]] bool opens_modern(const jsonrpc::Envelope& request);

/** Why a modern request cannot be served, as the error response to it; nothing if it can. */
[[nodiscard]] std::optional<std::string> modern_refusal(const jsonrpc::Envelope& request);

/** Whether an error is one that only a modern server answers. */
[[nodiscard]] bool is_modern_error(std::string_view error);
/** Whether a server that answers `initialize` so speaks the modern revision only. */
[[nodiscard]] bool refuses_legacy(std::string_view error);

/** Our own params for `server/discover`. */
[[nodiscard]] std::string discover_params();
/** serverInfo of a modern result, or empty. */
[[nodiscard]] std::string_view server_info_of(std::string_view result);

/** A legacy InitializeResult as a DiscoverResult. */
[[nodiscard]] std::string to_discover_result(std::string_view initialize_result, std::string_view server_info);
/** The result of a legacy server's to `method`, as a modern client wants it. It must be an object. */
[[nodiscard]] std::string to_modern_result(std::string_view method, std::string_view result,
                                           std::string_view server_info);
/** An error of a legacy server's or of ours, with a code that the modern revision allows. */
[[nodiscard]] std::string to_modern_error(std::string_view error);
[[nodiscard]] int to_modern_code(int code);

/** Methods of legacy revisions that the modern one has taken away. */
[[nodiscard]] bool is_removed_method(std::string_view method);
/** Whether a modern server may answer this with "input_required". */
[[nodiscard]] bool may_require_input(std::string_view method);

/** Params with a member of `_meta` more (or for the first time); empty ones count as {}. */
[[nodiscard]] std::string with_meta(std::string_view params, std::string_view key, std::string_view raw);

inline constexpr std::string_view subscription_id_key = "io.modelcontextprotocol/subscriptionId";
inline constexpr std::string_view server_info_key = "io.modelcontextprotocol/serverInfo";

}  // namespace hal::hub
