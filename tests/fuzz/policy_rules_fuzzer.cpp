#include "base/error.hpp"
#include "json/json.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/places.hpp"
#include "policy/tools.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

}  // namespace

/**
 * First line: rules. Second: a message. Rules survive their text; a tool that is not listed cannot be called; a
 * filtered list is still one message.
 */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hal;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const auto newline = text.find('\n');
  const auto object = json::parse(text.substr(0, newline), {.bytes = 1 << 16});
  const auto rules = object ? policy::read_tool_rules(*object, "tools") : Error{Errc::protocol, ""};
  if (!rules) {
    require(!object || rules.error().code == Errc::invalid_argument);
    return 0;
  }
  const auto again = policy::from_text(policy::to_text(*rules));
  require(again && policy::to_text(*again) == policy::to_text(*rules));
  if (newline == std::string_view::npos) {
    return 0;
  }
  const auto line = text.substr(newline + 1);
  const auto message = jsonrpc::scan(line);
  const auto tool = jsonrpc::unescape(message.name);
  if (!policy::may_be_listed(*rules, tool)) {
    require(policy::refusal(*rules, tool, message.arguments).has_value());
  }
  require(policy::refusal(*rules, tool, message.arguments) == policy::refusal(*again, tool, message.arguments));
  if (message.kind == jsonrpc::Kind::result) {
    const auto drop = [&](std::string_view name) { return !policy::may_be_listed(*rules, name); };
    if (const auto left = jsonrpc::without_named(message.outcome, "tools", drop)) {
      const std::string filtered = R"({"jsonrpc":"2.0","id":1,"result":)" + *left + "}";
      require(jsonrpc::scan(filtered).kind == jsonrpc::Kind::result);
      require(!jsonrpc::without_named(*left, "tools", drop));
    }
  }
  return 0;
}
