#include "http/rules.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace hal;

/** A head of lines "name:value"; each value is read as everything it might be. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  http::Head head;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto colon = std::min(line.size(), line.find(':'));
    const auto value = line.substr(std::min(line.size(), colon + 1));
    head.take(line.substr(0, colon), value);
    (void)http::is_our_host(value, 9000);
    (void)http::is_our_origin(value);
    (void)http::is_json(value);
    (void)http::bearer_token(value);
    (void)http::equal_secrets(value, line);
    (void)http::read_path(value);
    (void)http::read_sse_path(value);
    (void)http::read_message_path(value);
    if (const auto id = http::read_event_id(value)) {
      const auto again = http::read_event_id(http::event_id(*id));
      if (!again || again->stream != id->stream || again->event != id->event) {
        std::abort();
      }
    }
  }
  (void)http::accepted(head);
  return 0;
}
