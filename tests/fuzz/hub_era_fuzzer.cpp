#include "hub/era.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"

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

/** One JSON object, and no more. */
bool is_object(const std::string& text) {
  const auto line = jsonrpc::result_response("1", text);
  const auto message = jsonrpc::scan(line);
  return text.starts_with('{') && message.kind == jsonrpc::Kind::result && message.outcome == text;
}

}  // namespace

/** What is said in the words of another revision is JSON still, and says all that it said before. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string line(reinterpret_cast<const char*>(data), size);
  const auto message = jsonrpc::scan(line);
  if (message.kind == jsonrpc::Kind::request) {
    (void)hub::opens_modern(message);
    if (const auto refusal = hub::modern_refusal(message)) {
      require(jsonrpc::scan(*refusal).kind == jsonrpc::Kind::error);
    }
    if (message.params.empty() || message.params.starts_with('{')) {
      const auto params = hub::with_meta(message.params, hub::subscription_id_key, message.id);
      require(is_object(params));
      require(jsonrpc::member(jsonrpc::member(params, "_meta"), hub::subscription_id_key) == message.id);
    }
  }
  if (!message.is_response() || !message.outcome.starts_with('{')) {
    return 0;
  }
  (void)hub::refuses_legacy(message.outcome);
  require(is_object(hub::to_modern_error(message.outcome)));
  for (const auto* method : {"tools/list", "tools/call"}) {
    const auto result = hub::to_modern_result(method, message.outcome, R"({"name":"n"})");
    require(is_object(result));
    require(!jsonrpc::member(result, "resultType").empty());
    require(jsonrpc::member(result, "content") == jsonrpc::member(message.outcome, "content"));
    require(hub::to_modern_result(method, result, R"({"name":"n"})") == result);
  }
  if (jsonrpc::member(message.outcome, "capabilities").starts_with('{')) {
    require(is_object(hub::to_discover_result(message.outcome, hub::server_info_of(message.outcome))));
  }
  return 0;
}
