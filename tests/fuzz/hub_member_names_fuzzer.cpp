#include "hub/member_names.hpp"
#include "jsonrpc/batch.hpp"
#include "jsonrpc/envelope.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace hal;

namespace {

bool is_server(std::string_view name) {
  return name == "a" || name == "a__b" || name == "c_";
}

void must(bool condition) {
  if (!condition) {
    std::abort();
  }
}

}  // namespace

/** A server's answer to a list, as merged with others; and its strings as names from a client. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto message = jsonrpc::scan(text);
  if (message.kind != jsonrpc::Kind::result) {
    return 0;
  }
  const auto page = hub::read_member_page(message.outcome, "tools", "name", true, "a", is_server);
  const auto merged = '[' + page.elements + ']';
  must(jsonrpc::scan(std::string_view(merged)).kind == jsonrpc::Kind::batch);
  for (const auto& name : page.names) {
    const auto whole = hub::with_server(name, {name}, "a");
    const auto again = hub::split_name(whole, is_server);
    must(again && again->server == "a" && jsonrpc::unescape(again->raw) == jsonrpc::unescape(name));
  }
  (void)hub::with_server_at(message.outcome, "/task/taskId", "a");
  (void)hub::split_name(message.id, is_server);
  return 0;
}
