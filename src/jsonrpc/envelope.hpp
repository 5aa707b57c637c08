#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

/** JSON-RPC 2.0 as the Model Context Protocol uses it, without a document: bytes in, places of members out. */
namespace hal::jsonrpc {

/** Nesting a message may have. Scanning does not recurse; the bound protects those behind us who do. */
inline constexpr std::size_t max_depth = 256;

enum class Kind {
  request,
  notification,
  /** A response with "result". */
  result,
  /** A response with "error". */
  error,
  /** A JSON array, see batch.hpp. */
  batch,
  /** A JSON object that is no message; `id` is set where it could be read. */
  invalid,
  /** No JSON, or too deep. */
  not_json,
};

/**
 * Where the members stand that a multiplexer must see or change. Every view lies in the scanned line; absent members
 * are empty. Values are raw JSON text: strings with their quotes, as the sender spelled them.
 */
struct Envelope {
  Kind kind = Kind::not_json;
  /** Static text; what is wrong with a message of kind invalid or not_json. */
  const char* problem = "";
  /** A string or a number; null only in an error response. */
  std::string_view id;
  /** The method as spelled, without its quotes; method() undoes escapes. */
  std::string_view raw_method;
  std::string_view params;
  /** "result" or "error" of a response. */
  std::string_view outcome;
  /** Of a request that wants progress: params._meta.progressToken. */
  std::string_view meta_progress_token;
  /** params._meta["io.modelcontextprotocol/related-task"]: an object. */
  std::string_view meta_related_task;
  // Of params._meta, with names that begin with "io.modelcontextprotocol/": what a request of revision 2026-07-28 says
  // of itself, and the id of the stream of notifications (subscriptions/listen) that a notification belongs to.
  std::string_view meta_protocol_version;
  std::string_view meta_client_capabilities;
  std::string_view meta_log_level;
  std::string_view meta_subscription_id;
  /** Of notifications/progress. */
  std::string_view progress_token;
  /** Of notifications/cancelled. */
  std::string_view request_id;
  std::string_view uri;
  /** Of tools/call and prompts/get. */
  std::string_view name;
  std::string_view arguments;
  /** Of the result of tools/call. */
  std::string_view is_error;
  std::string_view task_id;
  /** Of a task-augmented request: an object. */
  std::string_view task;

  [[nodiscard]] std::string_view method() const { return unescaped_method.empty() ? raw_method : unescaped_method; }
  [[nodiscard]] bool is_response() const { return kind == Kind::result || kind == Kind::error; }

  /** Set only for a method that was spelled with escapes ("tools\/call"). */
  std::string unescaped_method;
};

/**
 * Reads one line. The whole of it is checked to be one JSON value (RFC 8259, valid UTF-8, max_depth), so what is
 * forwarded cannot break a peer's parser. A member of those above that stands twice makes the message invalid: peers
 * would not agree on which one counts. Other members, and their duplicates, are the peers' own.
 */
[[nodiscard]] Envelope scan(std::string_view line);

/** The views would outlive the line. */
template <std::same_as<std::string> Temporary>
Envelope scan(Temporary&& line) = delete;

/** A string's value from its raw text (with quotes); empty for what is no valid string. */
[[nodiscard]] std::string unescape(std::string_view raw);

/** JSON text of a string; bad UTF-8 becomes visible escapes. */
[[nodiscard]] std::string quote(std::string_view text);

/** A raw id or progress token as a key: equal for equal values, whatever escapes spelled them; 5 is not "5". */
[[nodiscard]] std::string id_key(std::string_view raw);

}  // namespace hal::jsonrpc
