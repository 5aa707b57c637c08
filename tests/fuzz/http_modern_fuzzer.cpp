#include "http/modern_rules.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

using namespace hal;

/** Lines "name:value" to an empty one, a message, and on the next line a result of tools/list. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string_view rest = text;
  const auto next = [&rest] {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    return line;
  };
  http::Head head;
  for (auto line = next(); !line.empty(); line = next()) {
    const auto colon = std::min(line.size(), line.find(':'));
    const auto value = line.substr(std::min(line.size(), colon + 1));
    head.take(line.substr(0, colon), value);
    (void)http::decode_header_value(value);
  }
  const std::string body(next());
  const auto message = jsonrpc::scan(body);
  if (message.kind != jsonrpc::Kind::request) {
    return 0;
  }
  (void)http::header_mismatch(head, message);
  const std::string answer(next());
  const auto list = jsonrpc::scan(answer);
  jsonrpc::ToolHeaders tools;
  if (list.kind == jsonrpc::Kind::result) {
    tools.learn(list.outcome);
    tools.learn(list.outcome);
  }
  (void)http::header_mismatch(head, tools, message);
  return 0;
}
