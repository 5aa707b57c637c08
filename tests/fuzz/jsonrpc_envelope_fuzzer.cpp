#include "jsonrpc/batch.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/splice.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace hal;

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

bool lies_in(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace

/** The messages of a batch are one JSON value each, in order, and make the same batch again. */
static void check_batch(const std::string& line) {
  const auto messages = jsonrpc::split_batch(line);
  if (!messages) {
    return;
  }
  require(messages->size() <= jsonrpc::max_batch_messages);
  std::string again = "[";
  for (const auto message : *messages) {
    require(!message.empty() && lies_in(message, line));
    again += again.size() > 1 ? "," : "";
    again += message;
  }
  again += "]";
  const auto once_more = jsonrpc::split_batch(again);
  require(once_more && *once_more == *messages);
}

/** Every view lies in the line, and a line with its id and token replaced reads the same but for those. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string line(reinterpret_cast<const char*>(data), size);
  check_batch(line);
  const auto message = jsonrpc::scan(line);
  for (const auto part : {message.id, message.raw_method, message.params, message.outcome, message.meta_progress_token,
                          message.meta_related_task, message.progress_token, message.request_id, message.uri,
                          message.task_id, message.task, message.meta_protocol_version,
                          message.meta_client_capabilities, message.meta_log_level, message.meta_subscription_id}) {
    require(lies_in(part, line));
  }
  (void)jsonrpc::id_key(message.id);
  (void)jsonrpc::unescape(message.uri);
  require(jsonrpc::unescape(jsonrpc::quote(message.method())) == message.method());
  if (message.kind != jsonrpc::Kind::request) {
    return 0;
  }
  jsonrpc::Splice splice(line);
  splice.replace(message.id, "424242");
  splice.replace(message.meta_progress_token, "434343");
  std::string changed;
  for (const auto part : splice.parts()) {
    changed += part;
  }
  const auto again = jsonrpc::scan(changed);
  require(again.kind == jsonrpc::Kind::request);
  require(again.id == "424242");
  require(again.method() == message.method());
  require(again.meta_progress_token == (message.meta_progress_token.empty() ? "" : "434343"));
  return 0;
}
