#include "http/event_stream.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

using namespace hal;

namespace {

/** What a client makes of the stream: ids of events with data, in order, and whether any stands parted. */
void check(const std::string& text, std::uint64_t& last, bool began_at_an_event) {
  std::size_t at = 0;
  while (began_at_an_event && at < text.size()) {
    const auto end = text.find("\n\n", at);
    if (end == std::string::npos) {
      return;
    }
    const auto block = text.substr(at, end - at);
    at = end + 2;
    if (block.rfind("id: 9-", 0) != 0) {
      continue;
    }
    const auto line_end = block.find('\n');
    const auto id = http::read_event_id(std::string_view(block).substr(4, line_end - 4));
    const bool whole = id && block.compare(line_end, 7, "\ndata: ") == 0 &&
                       block.find_first_of("\r\n", line_end + 1) == std::string::npos;
    if (!whole || id->event <= last) {
      std::abort();
    }
    last = id->event;
  }
}

}  // namespace

/** Each byte is a step: what is added, read, rewound, kept. Events come whole, in order, and none twice unasked. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  http::EventStream stream(9);
  std::string received;
  std::uint64_t last = 0;
  const auto reconnect = [&](std::uint64_t from) {
    check(received, last, true);
    received.clear();
    last = from;
    stream.disconnected();
    stream.open((from & 1U) != 0);
  };
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint8_t argument = data[i] >> 3U;
    switch (data[i] & 7U) {
      case 0:
      case 1: {
        const std::string payload(argument, "x\r\n{"[argument % 4]);
        const std::array parts{std::string_view(payload), std::string_view("}")};
        stream.add(parts);
        break;
      }
      case 2:
      case 3: {
        std::vector<char> buffer(argument + 1U);
        received.append(buffer.data(), stream.read(buffer));
        break;
      }
      case 4:
        if (stream.rewind(argument)) {
          reconnect(argument);
        }
        break;
      case 5:
        stream.keep(argument * 16U);
        break;
      case 6:
        stream.keep_alive();
        break;
      default:
        check(received, last, true);
        received.clear();
        stream.forget();
        reconnect(last);
    }
    if (stream.drained() != (stream.unread() == 0)) {
      std::abort();
    }
  }
  check(received, last, true);
  return 0;
}
