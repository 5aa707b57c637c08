// Calls of tools that want arguments in headers: a server says so in its list of tools, which may not have come by
// here.
#include "base/log.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "remote/client.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::remote {

namespace {

/** A list without an end is not read to it. */
constexpr int max_pages = 64;

}  // namespace

void Client::on_headers_refused(Exchange& exchange, std::string line, std::string answer) {
  auto request = exchange.request();
  const auto ended = std::move(exchanges_.at(request.key));
  exchanges_.erase(request.key);
  request.line = std::move(line);
  const auto key = request.key;
  refused_.insert_or_assign(key, RefusedCall{std::move(request), std::move(answer)});
  if (listing_key_.empty()) {
    log::info({}, "{}: a tool wants other headers; it is asked for its tools", host());
    listed_pages_ = 0;
    list_tools({});
  }
}

/** In the words of one of the calls, which it is for; what the client is told of its progress is the call's own. */
void Client::list_tools(std::string_view cursor) {
  const auto& call = refused_.begin()->second.request;
  const auto meta = jsonrpc::member(jsonrpc::scan(call.line).params, "_meta");
  Request request;
  request.id = next_own_id();
  request.key = jsonrpc::id_key(request.id);
  request.method = "tools/list";
  request.revision = call.revision;
  auto params = jsonrpc::with_member("", "_meta", jsonrpc::without_members(meta, {"progressToken"}));
  if (!cursor.empty()) {
    params = jsonrpc::with_member(params, "cursor", cursor);
  }
  request.line = jsonrpc::request(request.id, request.method, params);
  request.own = true;
  listing_key_ = request.key;
  send(std::move(request));
}

/** `result` is empty if there was none. */
void Client::on_listed(std::string_view result) {
  listing_key_.clear();
  const auto cursor = jsonrpc::member(result, "nextCursor");
  if (cursor.starts_with('"') && ++listed_pages_ < max_pages && !refused_.empty()) {
    return list_tools(cursor);
  }
  for (auto& [key, call] : std::exchange(refused_, {})) {
    call.request.parameters = parameter_headers(tools_, jsonrpc::scan(call.request.line));
    if (result.empty()) {
      web_.outlet.write(call.answer);
      continue;
    }
    call.request.again = true;
    send(std::move(call.request));
  }
  brake();
}

}  // namespace hal::remote
